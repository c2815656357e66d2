-- Tries whatever the other scripts do, on keys of the same names and patterns and without effect, so that a right that is
-- missing, or a key of another type, shows before a job is taken. Answers 1, or the error of Redis with what was tried.
-- ARGV: mod.rs.

local q = {key = ARGV[1], prefix = ARGV[2], group = ARGV[3]}
local worker = ARGV[4]

local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    local words = {command, ...}
    -- The key is the first word that is one of ours.
    local key = q.key
    for _, word in ipairs(words) do
      if type(word) == 'string' and string.sub(word, 1, #q.prefix) == q.prefix then key = word break end
    end
    local code = is_worlds(answer.err) and 'NOPERM' or string.match(answer.err, '^%u+') or 'ERR'
    error(code .. ' ' .. command .. ' on ' .. key .. ': ' .. answer.err, 0)
  end
  return answer
end

local function try_all()
  local id = 'rights-' .. worker
  local job = job_key(q, id)
  try('DEL', job)
  try('HSET', job, 'record', '')
  try('HINCRBY', job, 'attempts', 1)
  for _, read in ipairs({'HGET', 'HMGET', 'HEXISTS', 'HDEL'}) do try(read, job, 'record') end
  try('EXISTS', job)
  try('DEL', job)
  local ready = q.prefix .. ':ready'
  try('LRANGE', ready, 0, 0)
  try('LPOP', ready, 0)
  try('LREM', ready, 1, '')
  try('LPUSH', ready, '')
  try('LPOP', ready, 1)
  try('RPUSH', ready, '')
  -- What was pushed last is the last.
  try('LREM', ready, -1, '')
  for _, part in ipairs({':lease', ':scheduled', ':failed', ':workers'}) do
    try('ZADD', q.prefix .. part, 'XX', 1, '')
    try('ZREM', q.prefix .. part, '')
    try('ZSCORE', q.prefix .. part, '')
    try('ZRANGEBYSCORE', q.prefix .. part, 1, 0)
  end
  local record = q.prefix .. ':worker:' .. worker
  if try('EXISTS', record) == 1 then
    try('HINCRBY', record, 'successful_job_count', 0)
    try('HINCRBYFLOAT', record, 'total_working_time', 0)
    try('HSETNX', record, 'state', 'idle')
    try('PEXPIRE', record, 60000)
  end
  try('GET', q.prefix .. ':life')
  try('SET', q.prefix .. ':probe', '1', 'XX')
  try_source(try, q, worker)
end

local ok, err = pcall(try_all)
if ok then return 1 end
return redis.error_reply(message(err))
