-- Records the outcome of one claim.
-- ARGV and answer: settle.rs.

local q = {key = ARGV[1], prefix = ARGV[2], group = ARGV[3]}
local worker, id, execution, seconds = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local outcome, reason, delay = ARGV[8], ARGV[9], tonumber(ARGV[10])
local job = job_key(q, id)
if redis.call('HGET', job, 'execution') ~= execution then return 0 end

local function settle()
  if outcome == 'finished' then
    redis.call('DEL', job)
    done(q, id)
    count(q, worker, 'successful_job_count', seconds)
  elseif outcome == 'released' then
    redis.call('HINCRBY', job, 'attempts', -1)
    redis.call('HDEL', job, 'execution')
    redis.call('LPUSH', q.prefix .. ':ready', id)
    park(q, id)
  else
    local now = now_ms()
    note_failure(q, id, now, reason)
    if outcome == 'retry' then
      if delay > 0 then
        redis.call('ZADD', q.prefix .. ':scheduled', now + delay, id)
      else
        redis.call('RPUSH', q.prefix .. ':ready', id)
      end
      park(q, id)
    else
      redis.call('ZADD', q.prefix .. ':failed', now, id)
      done(q, id)
    end
    -- As rq counts it: every attempt that failed.
    count(q, worker, 'failed_job_count', seconds)
  end
end

-- Needs no memory, and lets Redis pass the rest. The lease goes last: whatever is refused before leaves it in place, to be
-- told or delivered again.
redis.call('ZREM', q.prefix .. ':lease', '')
local ok, err = pcall(settle)
if not ok then
  redis.pcall('HSET', job, 'execution', execution)
  return redis.error_reply(message(err))
end
redis.call('ZREM', q.prefix .. ':lease', id)
return 1
