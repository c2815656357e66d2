-- The less urgent part of maintenance, for what belongs to no queue: rate limits (RQ 3.0) and groups. Throttled over
-- all workers; part of maintain.lua.

-- A slot whose job neither waits on a queue nor runs has leaked (it was canceled while it ran, say), and would hold up
-- all others for ever.
local function free_leaked_slots(K)
  local allowed = P .. ':rl:' .. K .. ':allowed'
  for _, J in ipairs(redis.call('ZRANGE', allowed, 0, 999)) do
    local status = redis.call('HGET', job_key(J), 'status')
    if status ~= 'queued' and status ~= 'started' and redis.call('ZCOUNT', executions_key(J), '(' .. now, '+inf') == 0 then
      redis.call('ZREM', allowed, J)
    end
  end
  fill_slots(K, tonumber(redis.call('HGET', P .. ':rl:' .. K, 'concurrency') or 0) or 0)
  local waiting = P .. ':rl:' .. K .. ':rate_limited'
  if redis.call('EXISTS', allowed, waiting) == 0 then
    redis.call('SREM', P .. ':rl-keys', K)
    redis.call('DEL', P .. ':rl:' .. K)
  end
end

-- Ids of jobs that are gone leave their group, a sample at a time: groups may be large.
local function thin_group(G)
  for _, J in ipairs(redis.call('SRANDMEMBER', P .. ':group:' .. G, 200)) do
    if redis.call('EXISTS', job_key(J)) == 0 then redis.call('SREM', P .. ':group:' .. G, J) end
  end
  if redis.call('EXISTS', P .. ':group:' .. G) == 0 then redis.call('SREM', P .. ':groups', G) end
end

local function clean_prefix()
  for _, K in ipairs(redis.call('SRANDMEMBER', P .. ':rl-keys', 100)) do pcall(free_leaked_slots, K) end
  for _, G in ipairs(redis.call('SRANDMEMBER', P .. ':groups', 20)) do pcall(thin_group, G) end
end
