-- Failed jobs of a list or stream removed for good. One that is not in the registry is left alone.
-- ARGV and answer: failed_jobs.rs.
local removed = 0
for i = 2, #ARGV do
  if redis.call('ZSCORE', ARGV[1] .. ':failed', ARGV[i]) then
    removed = removed + 1
    redis.call('DEL', ARGV[1] .. ':job:' .. ARGV[i])
    redis.call('ZREM', ARGV[1] .. ':failed', ARGV[i])
  end
end
return removed
