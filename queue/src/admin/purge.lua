-- Failed jobs removed for good: from the registry, and their records. One that is not in the registry is left alone.
-- KEYS[1] failed registry. ARGV[1] key prefix, then the ids. Answers how many.
local removed = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  if redis.call('ZREM', KEYS[1], id) == 1 then
    removed = removed + 1
    local job = ARGV[1] .. ':job:' .. id
    local group = redis.call('HGET', job, 'group_id')
    if group and group ~= '' then redis.call('SREM', ARGV[1] .. ':group:' .. group, id) end
    redis.call('DEL', job, job .. ':dependents', ARGV[1] .. ':job::' .. id .. ':dependencies',
      ARGV[1] .. ':results:' .. id, ARGV[1] .. ':executions:' .. id)
  end
end
return removed
