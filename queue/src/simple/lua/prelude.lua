-- Shared by every script. A queue `q` is {key, prefix, group}: the user's key, the prefix of the keys kept beside it,
-- and the consumer group (streams only). Times are milliseconds of Redis' own clock.

local time = redis.pcall('TIME')
if time.err then return redis.error_reply('NOPERM TIME: ' .. time.err) end

local function now_ms()
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The score of a lease is its end in microseconds: whole ones, which Redis handles fastest. They also keep the jobs of
-- one batch in the order they had, should they be reclaimed.
local function lease_end(now, lease, index) return (now + lease) * 1000 + index end

local function job_key(q, id) return q.prefix .. ':job:' .. id end

-- Keeps why, when and in whose hands an attempt failed (the last ten), and takes the job out of those hands.
local function note_failure(q, id, now, reason)
  local job = job_key(q, id)
  local n = redis.call('HINCRBY', job, 'failures', 1)
  local worker = redis.call('HGET', job, 'worker') or ''
  redis.call('HSET', job, 'error:' .. n, reason, 'at:' .. n, string.format('%.0f', now), 'by:' .. n, worker)
  redis.call('HDEL', job, 'execution', 'error:' .. (n - 10), 'at:' .. (n - 10), 'by:' .. (n - 10))
end

-- Counts a run in the record of its worker. An expired record must not come back as one that never expires.
local function count(q, worker, counter, seconds)
  local record = q.prefix .. ':worker:' .. worker
  if redis.call('EXISTS', record) == 1 then
    redis.call('HINCRBY', record, counter, 1)
    if seconds > 0 then redis.call('HINCRBYFLOAT', record, 'total_working_time', seconds) end
  end
end
