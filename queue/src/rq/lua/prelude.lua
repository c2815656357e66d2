-- Shared by all RQ scripts: the server's clock, key names, and reading a job.
-- ARGV[1] is the key prefix, ARGV[2] this worker's name. Keys beyond KEYS[1] are derived: in a cluster the prefix must
-- hold a {tag}, which puts them all in one slot.
local P, W = ARGV[1], ARGV[2]
local clock = redis.pcall('TIME')
if clock.err then return redis.error_reply('NOPERM TIME: ' .. clock.err) end
local now, micros = tonumber(clock[1]), tonumber(clock[2])

local function int(n) return string.format('%d', n) end

-- The same of numbers that are small as a rule: formatting costs.
local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}
local function text_of(n) return DIGITS[n] or int(n) end

-- YYYY-MM-DDTHH:MM:SS.ffffffZ, the only form every Python reader accepts (civil date from days, Howard Hinnant).
local function iso(seconds, us)
  local day = math.floor(seconds / 86400)
  local rest = seconds - day * 86400
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local d = doy - math.floor((153 * mp + 2) / 5) + 1
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400 + (m <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', y, m, d, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, us)
end
local now_iso = iso(now, micros)
local now_float = string.format('%d.%06d', now, micros)

local function job_key(J) return P .. ':job:' .. J end
local function dependents_key(J) return P .. ':job:' .. J .. ':dependents' end
-- Two colons: RQ's own spelling.
local function dependencies_key(J) return P .. ':job::' .. J .. ':dependencies' end
local function results_key(J) return P .. ':results:' .. J end
local function executions_key(J) return P .. ':executions:' .. J end
local function execution_key(J, E) return P .. ':execution:' .. J .. ':' .. E end
local function queue_key(Q) return P .. ':queue:' .. Q end
local function wip_key(Q) return P .. ':wip:' .. Q end
local function finished_key(Q) return P .. ':finished:' .. Q end
local function failed_key(Q) return P .. ':failed:' .. Q end
local function scheduled_key(Q) return P .. ':scheduled:' .. Q end
local function deferred_key(Q) return P .. ':deferred:' .. Q end
local function worker_key(N) return P .. ':worker:' .. N end
-- Ours: ids whose turn is after a run in hand, by the time they are due (of a queue); their runs, the next one first; one
-- such run; what the executions of one claim run, by the last eight digits of each; and ids that had no record.
local function aside_key(Q) return P .. ':jobqueue:aside:' .. Q end
local function behind_key(Q, J) return P .. ':jobqueue:behind:' .. Q .. ':' .. J end
local function run_key(J, R) return P .. ':jobqueue:run:' .. J .. ':' .. R end
local function held_key(E) return P .. ':jobqueue:held:' .. string.sub(E, 1, 24) end
local function number_of(E) return string.sub(E, 25) end
local function forget_copy(E) redis.call('HDEL', held_key(E), number_of(E), number_of(E) .. 'd') end
local function gone_key(Q) return P .. ':jobqueue:gone:' .. Q end

-- The score of our members of a started registry is the end of the lease and this: RQ's clean-up, which any reader of the
-- registry runs, fails the jobs whose score is in the past. Members of Python workers have no such offset.
local OURS = 10000000000

-- Seconds by which what is needed to run a job again outlives its lease.
local RECORD_OF_A_RUN = 604800

-- Our execution ids have an 8 where a random UUID has its version, a 4; ours are counted when they are claimed.
local function is_ours(E) return string.sub(E, 13, 13) == '8' and #E == 32 end

-- When a lease ends, by the score of its member.
local function lease_end(score) return score >= OURS and score - OURS or score end

local FIELDS = {'created_at', 'status', 'result_ttl', 'failure_ttl', 'retries_left', 'retry_intervals',
  'enqueue_at_front_on_retry', 'repeats_left', 'repeat_intervals', 'enqueue_at_front', 'rate_limit_key',
  'rate_limit_concurrency', 'dependency_id', 'dependency_ids', 'jobqueue_generation', 'jobqueue_attempts',
  'jobqueue_crashes', 'webhooks', 'enqueued_at', 'success_callback_name', 'failure_callback_name',
  'stopped_callback_name', 'origin', 'jobqueue_execution', 'jobqueue_run', 'jobqueue_of'}

-- Those of them that a job needs which ends well and is not repeated: most, and each field costs.
local FIELDS_OF_THE_FINISHED = {'created_at', 'status', 'result_ttl', 'repeats_left', 'rate_limit_key', 'dependency_id',
  'dependency_ids', 'jobqueue_generation', 'webhooks', 'enqueued_at', 'success_callback_name', 'origin',
  'jobqueue_execution', 'jobqueue_of'}

-- The fields that decide what becomes of a job; nil where it has no record.
local function read_job(J, fields)
  fields = fields or FIELDS
  local values = redis.call('HMGET', job_key(J), unpack(fields))
  local job = {}
  for i = 1, #fields do
    local value = values[i]
    if value then job[fields[i]] = value end
  end
  if job.status == nil then return nil end
  return job
end

-- The version of a record: RQ writes both times anew with each enqueueing.
local function version(created_at, enqueued_at) return (created_at or '') .. ' ' .. (enqueued_at or '') end

-- Whether the record is still that which execution `E` claimed; else the producer enqueued the id again meanwhile.
local function is_owner(job, E)
  return job.jobqueue_execution == E and job.jobqueue_of == version(job.created_at, job.enqueued_at)
end
