-- Shared by every script. A queue `q` is {key, prefix, group}: the user's key, the prefix of the keys kept beside it,
-- and the consumer group (streams only). Times are milliseconds of Redis' own clock.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Fractions of a millisecond keep the jobs of one batch in the order they had, should they be reclaimed.
local function lease_end(now, lease, index) return now + lease + math.min(index, 4095) / 4096 end

local function job_key(q, id) return q.prefix .. ':job:' .. id end

-- Keeps the reason of a failed attempt, and takes the job out of its worker's hands.
local function note_failure(q, id, now, reason)
  local job = job_key(q, id)
  local attempt = redis.call('HGET', job, 'attempts') or '0'
  redis.call('HSET', job, 'error:' .. attempt, reason, 'failed_at', string.format('%.0f', now))
  redis.call('HDEL', job, 'execution')
end

local function count(q, worker, field, seconds)
  redis.call('HINCRBY', q.prefix .. ':totals', field, 1)
  if seconds > 0 then redis.call('HINCRBYFLOAT', q.prefix .. ':totals', 'busy_seconds', seconds) end
  local record = q.prefix .. ':worker:' .. worker
  -- An expired record must not come back as one that never expires.
  if redis.call('EXISTS', record) == 1 then
    local counter = field == 'finished' and 'successful_job_count' or 'failed_job_count'
    redis.call('HINCRBY', record, counter, 1)
    if seconds > 0 then redis.call('HINCRBYFLOAT', record, 'total_working_time', seconds) end
  end
end
