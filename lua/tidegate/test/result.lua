-- What became of a request: the table `r` that p:run and gw:get give back.
--
-- Purpose    Puts together what the client saw (the response) and what went on inside (plugins, log lines,
--            attempts, usage), from the events of core/harness/event.h.
-- Invariants Times are seconds of the gateway's clock, but for usage.cpu, which is real; sizes are exact
--            bytes as Lua asked for them.
-- Ownership  A result belongs to the spec; of the gateway it keeps the snapshot that it began on.
-- Cost       One small table for each plugin that took part.

local cjson = require "cjson.safe"

local http = require "tidegate.test.http"
local metrics = require "tidegate.test.metrics"

local result = {}

-- r.metrics is worked out when it is asked for.
function result.__index(self, name)
  if name ~= "metrics" or not rawget(self, "counted_after") then return result[name] end
  local list = metrics.between(self.counted_before, self.counted_after)
  rawset(self, "metrics", list)
  return list
end

--- What is gathered for a request while it runs, by its id.
function result.record()
  return { visits = {}, order = {}, failures = {}, lines = {}, usage = {} }
end

local function usage_of(record, plugin)
  local usage = record.usage[plugin]
  if not usage then
    usage = { alloc_peak = 0, alloc_total = 0, cpu = 0, suspended = 0 }
    record.usage[plugin] = usage
    record.order[#record.order + 1] = plugin
  end
  return usage
end

--- Events, as they come.
function result.on_enter(record, event)
  local usage = usage_of(record, event.plugin)
  if usage.waits_since then
    usage.suspended = usage.suspended + event.at - usage.waits_since
    usage.waits_since = nil
  end
  local last = record.visits[#record.visits]
  if not last or last.plugin ~= event.plugin or last.phase ~= event.phase then
    record.visits[#record.visits + 1] = { plugin = event.plugin, phase = event.phase }
  end
end

function result.on_leave(record, event)
  local usage = usage_of(record, event.plugin)
  usage.cpu = usage.cpu + event.cpu
  if event.outcome == "wait" then usage.waits_since = event.at end
end

function result.on_failed(record, event)
  local usage = usage_of(record, event.plugin)
  if usage.waits_since then
    usage.suspended = usage.suspended + event.at - usage.waits_since
    usage.waits_since = nil
  end
  record.failures[#record.failures + 1] = event
end

local trace = {}
trace.__index = trace

--- Names of the plugins that took part, in the order in which they first ran.
function trace:plugins() return self.order end

--- "phase plugin" for each call of a phase, in order.
function trace:phases()
  local list = {}
  for i, visit in ipairs(self.visits) do list[i] = visit.phase .. " " .. visit.plugin end
  return list
end

--- A result that waits for its response.
-- @tparam table request
-- @tparam number at when it was sent
-- @tparam string counted of metrics.now(), before
-- @tparam userdata snapshot what it is served by
function result.new(request, at, counted, snapshot)
  return setmetatable({ request = request, counted_before = counted, sent_at = at, snapshot = snapshot,
                        done = false, received = false, ended = false, interim = {},
                        upstream = { called = false } }, result)
end

--- The client has its response, or what there is of it.
-- @tparam table|nil message see http.lua; nil when nothing came
-- @tparam string|nil why how the connection ended, when it did
function result:take_response(message, why, at)
  message = message or { header_list = {}, headers = http.headers {}, chunks = {}, complete = false }
  self.status, self.reason = message.status, message.reason
  self.headers, self.header_list, self.trailers = message.headers, message.header_list, message.trailers
  self.body, self.chunks, self.complete = message.body, message.chunks, message.complete
  self.closed = why
  self.received, self.elapsed = true, at - self.sent_at
end

local function total_of(record, accounts)
  local total = { alloc_peak = 0, alloc_total = 0, cpu = 0, suspended = 0 }
  for _, account in ipairs(accounts) do
    local usage = usage_of(record, account.plugin)
    usage.alloc_peak = math.max(usage.alloc_peak, account.peak)
    usage.alloc_total = usage.alloc_total + account.total
  end
  for _, usage in pairs(record.usage) do
    usage.waits_since = nil
    for name in pairs(total) do total[name] = total[name] + usage[name] end
  end
  return total
end

--- The request is over.
-- @tparam table event of type "end"
-- @tparam table record what was gathered
-- @tparam table|nil call the last request that an origin saw meanwhile
function result:take_end(event, record, call)
  local failure = record.failures[1]
  self.id, self.route, self.service, self.source = event.request, event.route, event.service, event.source
  self.code, self.aborted = event.error, event.aborted
  self.consumer = event.consumer or {}
  self.logs, self.failures = record.lines, record.failures
  for _, one in ipairs(record.failures) do self.killed = self.killed or one.kill end
  self.error = failure and failure.what
  self.usage, self.usages = total_of(record, event.accounts), record.usage
  self.trace = setmetatable({ order = record.order, visits = record.visits }, trace)
  self.fields = event.log_fields and cjson.decode("{" .. event.log_fields:gsub("^,", "") .. "}") or {}
  local facts = event.upstream
  self.upstream = { called = facts.called, status = facts.status, target = facts.address, error = facts.error,
                    attempts = facts.attempts }
  if call and facts.called then
    self.origin = call.response
    for _, name in ipairs { "method", "path", "query", "headers", "header_list", "body", "chunks" } do
      self.upstream[name] = call[name]
    end
  end
  self.counted_after = metrics.now()
  self.ended = true
end

return result
