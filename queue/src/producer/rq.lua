-- RQ: the job hashes and their ids on the queue, as `Queue.enqueue_many` writes them.
-- ARGV from the ninth on: script.rs.
redis.call('SADD', ARGV[10] .. ':queues', KEYS[1])
local words = {}
local count = tonumber(ARGV[11])
for i = 1, count do words[i] = ARGV[11 + i] end
for i = 12 + count, #ARGV, 4 do
  words[count + 1], words[count + 2] = 'data', ARGV[i + 1]
  words[count + 3], words[count + 4] = 'description', ARGV[i + 2]
  words[count + 5], words[count + 6] = 'meta', ARGV[i + 3]
  local last = count + (ARGV[i + 3] == '' and 4 or 6)
  redis.call('HSET', ARGV[10] .. ':job:' .. ARGV[i], unpack(words, 1, last))
  redis.call(ARGV[9], KEYS[1], ARGV[i])
end
return {'DONE'}
