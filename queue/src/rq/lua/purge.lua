-- Failed jobs removed for good: from the registry, and their records. What is not failed (any more) is left alone: an id
-- that was enqueued again, and waits, runs or is done, only loses its old entry in the registry.
-- ARGV and answer: failed_jobs.rs.
local removed = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local job = ARGV[1] .. ':job:' .. id
  local f = redis.call('HMGET', job, 'status', 'group_id')
  if redis.call('ZSCORE', KEYS[1], id) and (not f[1] or f[1] == 'failed' or f[1] == 'stopped') then
    removed = removed + 1
    if f[2] and f[2] ~= '' then redis.call('SREM', ARGV[1] .. ':group:' .. f[2], id) end
    redis.call('DEL', job, job .. ':dependents', ARGV[1] .. ':job::' .. id .. ':dependencies',
      ARGV[1] .. ':results:' .. id, ARGV[1] .. ':executions:' .. id)
  end
  redis.call('ZREM', KEYS[1], id)
end
return removed
