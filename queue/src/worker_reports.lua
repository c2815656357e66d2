-- Writes one worker's fault, or ('') removes it. Removes old entries of other workers as well.
-- ARGV: worker_reports.rs.
local key, worker, fresh, text = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if text == '' then
  redis.call('HDEL', key, worker)
  return
end
local now = tonumber(redis.call('TIME')[1])
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^%d+') or '0')
  if now - at > fresh then redis.call('HDEL', key, all[i]) end
end
redis.call('HSET', key, worker, now .. ' ' .. text)
redis.call('EXPIRE', key, fresh * 3)
