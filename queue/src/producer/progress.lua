-- Every batch starts here: it is written only where the run's progress says that it comes next, and the progress moves
-- with it. So a batch whose reply was lost can be sent again, and an interrupted run goes on without a gap or a double.
-- KEYS, ARGV and answer: script.rs.
local known = redis.call('HMGET', ARGV[1], 'run', 'bytes')
if not known[1] then return {'LOST', '0'} end
if known[1] ~= ARGV[2] then return {'TAKEN'} end
if known[2] == ARGV[4] then return {'AGAIN'} end
if known[2] ~= ARGV[3] then return {'LOST', known[2]} end
redis.call('HSET', ARGV[1], 'bytes', ARGV[4], 'lines', ARGV[5], 'jobs', ARGV[6], 'crc32', ARGV[7], 'updated_at', ARGV[8])
