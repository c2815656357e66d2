-- A list: each record is one element. ARGV from the ninth on: script.rs.
for i = 10, #ARGV do redis.call(ARGV[9], KEYS[1], ARGV[i]) end
return {'DONE'}
