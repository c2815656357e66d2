-- A stream: each record is a field of an entry, with its trace context where it has one. ARGV from the ninth on: script.rs.
local answer = {'DONE'}
for i = 10, #ARGV, 2 do
  local words = {ARGV[9], ARGV[i]}
  if ARGV[i + 1] ~= '' then words[3], words[4] = 'traceparent', ARGV[i + 1] end
  answer[#answer + 1] = redis.call('XADD', KEYS[1], '*', unpack(words))
end
return answer
