-- A list: each record is one element. ARGV[9] push command, then the records.
for i = 10, #ARGV do redis.call(ARGV[9], KEYS[1], ARGV[i]) end
return {'DONE'}
