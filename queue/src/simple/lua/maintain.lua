-- What has to be done about one queue now and then, by anybody; a bounded portion each time.
-- ARGV and answer: maintain.rs.

local q = {key = ARGV[1], prefix = ARGV[2], group = ARGV[3]}
local lease, most_attempts, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_ms()
-- Needs no memory, and lets Redis pass the rest.
redis.call('ZREM', q.prefix .. ':lease', '')
local reclaimed, abandoned = 0, 0

-- A job whose worker vanished runs again, before the others, unless that happened too often.
local function bring_back(id, attempts, worker)
  note_failure(q, id, now, 'the worker ' .. worker .. ' stopped responding while it ran the job')
  if attempts >= most_attempts then
    redis.call('ZADD', q.prefix .. ':failed', now, id)
    done(q, id)
    abandoned = abandoned + 1
  else
    redis.call('LPUSH', q.prefix .. ':ready', id)
    park(q, id)
    reclaimed = reclaimed + 1
  end
end

-- Latest first, because each goes to the head.
local over = string.format('(%.0f', now * 1000)
local lapsed = redis.call('ZRANGEBYSCORE', q.prefix .. ':lease', '-inf', over, 'LIMIT', 0, 1000)
for i = #lapsed, 1, -1 do
  local id = lapsed[i]
  local known = redis.call('HMGET', job_key(q, id), 'attempts', 'worker')
  bring_back(id, tonumber(known[1]) or 1, known[2] or '(unknown)')
  -- Last: what is refused before leaves the lease in place.
  redis.call('ZREM', q.prefix .. ':lease', id)
end

-- A lease that ends later than its own length from now is from before Redis's clock was set back. Its owner, if there is
-- one, renews it with its next heartbeat.
local late = string.format('(%.0f', (now + lease + 2000) * 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.prefix .. ':lease', late, '+inf', 'LIMIT', 0, 500)) do
  local own = tonumber(redis.call('HGET', job_key(q, id), 'lease') or '')
  if own and tonumber(redis.call('ZSCORE', q.prefix .. ':lease', id)) > (now + own + 2000) * 1000 then
    redis.call('ZADD', q.prefix .. ':lease', 'XX', lease_end(now, own + 1000, 0), id)
  end
end

for _, stray in ipairs(adopt(q, lease, 100, ARGV[7])) do
  redis.call('HSET', job_key(q, stray[1]), 'record', stray[2], 'attempts', stray[3], 'run', stray[4])
  bring_back(stray[1], stray[3], '(not one of ours)')
end

local due = redis.call('ZRANGEBYSCORE', q.prefix .. ':scheduled', '-inf', now, 'LIMIT', 0, 1000)
for _, id in ipairs(due) do
  redis.call('RPUSH', q.prefix .. ':ready', id)
  redis.call('ZREM', q.prefix .. ':scheduled', id)
end

local expired = redis.call('ZRANGEBYSCORE', q.prefix .. ':failed', '-inf', now - keep, 'LIMIT', 0, 1000)
for _, id in ipairs(expired) do
  redis.call('ZREM', q.prefix .. ':failed', id)
  redis.call('DEL', job_key(q, id))
end

for _, worker in ipairs(redis.call('ZRANGEBYSCORE', q.prefix .. ':workers', '-inf', now - lease * 4)) do
  redis.call('ZREM', q.prefix .. ':workers', worker)
  forget(q, worker)
end
return {reclaimed, abandoned, #due, #expired}
