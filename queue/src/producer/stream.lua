-- A stream: each record is the only field of an entry. ARGV from the ninth on: script.rs.
local answer = {'DONE'}
for i = 10, #ARGV do answer[i - 8] = redis.call('XADD', KEYS[1], '*', ARGV[9], ARGV[i]) end
return answer
