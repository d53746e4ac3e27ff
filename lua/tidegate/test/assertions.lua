-- Assertions on results, added to luassert.
--
--   assert.response(r).has.status(200)            assert.response(r).has.no.header("x-debug")
--   assert.response(r).has.header("x-id", "7")    assert.response(r).has.json { ok = true }
--   assert.response(r).has.body("text")           assert.request(r.upstream).has.header("x-id")
--   assert.killed(r, "memory")                    assert.error_code(r, "plugin_failed")
--   assert.memory(r).peak_below "64KiB"           assert.memory(p).no_growth(fn, { rounds = 200 })
--   assert.cpu(r).below "5ms"                     assert.elapsed(r).at_most "300ms"
--   assert.logged(r, "warn", "pattern")           assert.metric(r, "rejected", { reason = "x" }).equals(1)
--
-- Purpose    Messages that show what there was: status, headers, what plugins logged and why they failed.
-- Invariants Each raises at the line of its caller. Of what never came nothing holds, not even that it lacks
--            something: has.no.header fails of an answer that is not there.
-- Ownership  Nothing is kept.
-- Cost       A table for each assertion.

local assert = require "luassert"
local cjson = require "cjson.safe"

local metrics = require "tidegate.test.metrics"
local duration = require "tidegate.test.duration"

local GROWTH_SLACK = 1024 -- bytes that a VM may differ by after many requests: rounding of tables

-- What is known of a result, for a message.
local function describe(r)
  local lines = { ("status %s, source %s"):format(tostring(r.status), tostring(r.source)) }
  if r.code then lines[#lines + 1] = "code " .. tostring(r.code) end
  for _, failure in ipairs(r.failures or {}) do
    lines[#lines + 1] = ("plugin %s failed in %s: %s"):format(failure.plugin, failure.phase, failure.what)
  end
  for _, field in ipairs(r.header_list or {}) do lines[#lines + 1] = "  " .. field[1] .. ": " .. field[2] end
  if r.body and #r.body > 0 then lines[#lines + 1] = "  " .. r.body:sub(1, 512) end
  return table.concat(lines, "\n")
end

-- Raises at the line of the spec: `level` functions of ours are on the way.
local function fail(level, text, ...)
  local busted = package.loaded.busted
  if busted and busted.fail then busted.fail(text:format(...), level + 1) end
  error(text:format(...), level + 1)
end

-- ---- Things with assertions: a table of functions, with `has`, `is`, `no` on the way -------------------

local chain = {}

function chain.__index(self, name)
  if name == "has" or name == "is" or name == "does" then return self end
  if name == "no" or name == "never" or name == "has_no" or name == "is_not" then
    return setmetatable({ subject = self.subject, checks = self.checks, missing = self.missing,
                          negated = not self.negated }, chain)
  end
  local check = rawget(self, "checks")[name]
  if not check then error(("there is no assertion %q here"):format(tostring(name)), 2) end
  return function(...)
    local missing = self.missing(self.subject)
    if missing and self.negated then fail(2, "%s\n%s", missing, describe(self.subject)) end
    local ok, message = check(self.subject, ...)
    if (not ok) == self.negated then return self end
    if self.negated then message = "did not expect this: " .. (message or name) end
    fail(2, "%s\n%s", message, describe(self.subject))
  end
end

local function nothing_missing() end

-- `missing`: why nothing can be said of a subject; nil when something can.
local function on(checks, missing)
  return function(subject)
    if type(subject) ~= "table" then error("expected a result, got a " .. type(subject), 3) end
    return setmetatable({ subject = subject, checks = checks, missing = missing or nothing_missing,
                          negated = false }, chain)
  end
end

local messages = {}

function messages.header(r, name, ...)
  local got, value = r.headers and r.headers[name:lower()], ...
  if value == nil then
    -- Somebody meant a value.
    if select("#", ...) > 0 then fail(3, "the value that header %s should have is nil", name) end
    return got ~= nil, ("header %s"):format(name)
  end
  return got == tostring(value),
    ("expected header %s: %s, got %s"):format(name, tostring(value), tostring(got))
end

function messages.body(r, body)
  return r.body == body, ("expected body %q, got %q"):format(tostring(body), tostring(r.body))
end

-- What `expected` says is in `got`; other fields of objects are not looked at, other items of lists are.
local function includes(got, expected)
  if type(expected) ~= "table" then return got == expected end
  if type(got) ~= "table" or (#expected > 0 and #got ~= #expected) then return false end
  for key, value in pairs(expected) do
    if not includes(got[key], value) then return false end
  end
  return true
end

function messages.json(r, expected)
  local got, why = cjson.decode(r.body or "")
  if got == nil then return false, "the body is not JSON: " .. tostring(why) end
  return includes(got, expected), ("expected JSON %s, got %s"):format(cjson.encode(expected), r.body)
end

local responses = setmetatable({}, { __index = messages })

function responses.status(r, status)
  return r.status == status, ("expected status %d, got %s"):format(status, tostring(r.status))
end

function responses.source(r, source)
  return r.source == source, ("expected source %s, got %s"):format(source, tostring(r.source))
end

local requests = setmetatable({}, { __index = messages })

for _, name in ipairs { "method", "path", "query" } do
  requests[name] = function(r, value)
    return r[name] == value, ("expected %s %s, got %s"):format(name, tostring(value), tostring(r[name]))
  end
end

-- ---- Memory, CPU, time ---------------------------------------------------------------------------------

local function bytes_of(value)
  return ("%d bytes"):format(value)
end

-- What a request used, which is known when it is over.
local function usage_of(r)
  return r.usage or fail(4, "the request is not over: what it uses is not known yet\n%s", describe(r))
end

local memory = {}

function memory.peak_below(r, size)
  local limit, usage = duration.read_size(size), usage_of(r)
  return usage.alloc_peak < limit,
    ("expected a peak below %s, got %s"):format(bytes_of(limit), bytes_of(usage.alloc_peak))
end

function memory.total_below(r, size)
  local limit, usage = duration.read_size(size), usage_of(r)
  return usage.alloc_total < limit,
    ("expected less than %s in all, got %s"):format(bytes_of(limit), bytes_of(usage.alloc_total))
end

local function used(p)
  p:collect()
  return p:usage().used
end

-- The VM of `p` holds no more after many calls of `fn` than after the first ones.
function memory.no_growth(p, fn, options)
  local rounds = options and options.rounds or 100
  for _ = 1, math.min(rounds, 10) do fn() end
  local before = used(p)
  for _ = 1, rounds do fn() end
  local after = used(p)
  return after - before <= GROWTH_SLACK,
    ("expected no growth over %d rounds, the VM went from %s to %s (%.1f a round)")
      :format(rounds, bytes_of(before), bytes_of(after), (after - before) / rounds)
end

local cpu = {}

function cpu.below(r, limit)
  local seconds, usage = duration.read(limit), usage_of(r)
  return usage.cpu < seconds, ("expected less than %g ms of CPU, got %g ms"):format(seconds * 1e3,
                                                                               usage.cpu * 1e3)
end

local elapsed = {}

function elapsed.at_most(r, limit)
  local seconds = duration.read(limit)
  return (r.elapsed or math.huge) <= seconds + 1e-6,
    ("expected at most %g s of the gateway's time, got %s"):format(seconds, tostring(r.elapsed))
end

function elapsed.at_least(r, limit)
  local seconds = duration.read(limit)
  return (r.elapsed or 0) >= seconds - 1e-6,
    ("expected at least %g s of the gateway's time, got %s"):format(seconds, tostring(r.elapsed))
end

-- ---- Plain ones ----------------------------------------------------------------------------------------

local plain = {}

function plain.killed(r, reason)
  if reason == nil and r.killed then return end
  if r.killed ~= nil and r.killed == reason then return end
  fail(2, "expected a plugin to be killed (%s), got %s\n%s", reason or "any reason", tostring(r.killed),
       describe(r))
end

function plain.error_code(r, code)
  if r.code == code then return end
  fail(2, "expected the code %s, got %s\n%s", code, tostring(r.code), describe(r))
end

-- A log line as one text: the message, then its fields by name.
local function text_of(line)
  local names, parts = {}, { line.message }
  for name in pairs(line.fields) do
    if name ~= "request" and name ~= "plugin" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do parts[#parts + 1] = ("%s=%s"):format(name, tostring(line.fields[name])) end
  return table.concat(parts, " ")
end

function plain.logged(r, level, pattern)
  local seen = {}
  local lines = type(r.logs) == "function" and r:logs() or r.logs -- of a gateway, or of a result
  for _, line in ipairs(lines or {}) do
    local text = text_of(line)
    if line.level == level and text:find(pattern) then return end
    seen[#seen + 1] = line.level .. " " .. text
  end
  fail(2, "expected a line of level %s that matches %q; there were:\n  %s", level, pattern,
       #seen > 0 and table.concat(seen, "\n  ") or "none")
end

local function add(name, fn)
  rawset(assert, name, fn)
end

-- Of whom metrics are asked: a result, or a plugin or a gateway since it was made, timers and queues
-- included.
-- What moved, the snapshot, all that is counted, and what is known of the subject, for a message.
local function counted_by(subject)
  local w = type(subject) == "table" and rawget(subject, "world")
  if w then
    local now = metrics.now()
    return metrics.between(w.counted_before, now), w.snapshot, now, "since it was made"
  end
  if type(subject) ~= "table" then
    fail(3, "expected a result, a plugin or a gateway, got a %s", type(subject))
  end
  if not subject.metrics then
    fail(3, "the request is not over: what it counted is not known yet\n%s", describe(subject))
  end
  return subject.metrics, subject.snapshot, subject.counted_after, describe(subject)
end

-- assert.metric(r, "rejected", { reason = "quota" }).equals(1): what plugins counted in this request, or
-- since a plugin or gateway was made; gauges are what they are now.
local function metric(subject, name, labels)
  local moved, snapshot, now, about = counted_by(subject)
  local sum, count = metrics.sum(moved, snapshot:plugins(), name, labels)
  if count == 0 and not metrics.is_known(snapshot:files(), now, name) then
    fail(2, "no plugin declares metrics.%s", name)
  end
  local function check(ok, text, value)
    if ok then return end
    fail(3, "expected the metric %s to be %s %s, got %s\n%s", name, text, tostring(value),
         count > 0 and tostring(sum) or "no change", about)
  end
  return {
    equals = function(value) check(sum == value, "", value) end,
    at_least = function(value) check(sum >= value, "at least", value) end,
  }
end

add("metric", metric)
add("response", on(responses, function(r) return r.status == nil and "there is no answer" or nil end))
add("request", on(requests, function(r) return r.called == false and "the origin was not asked" or nil end))
add("memory", on(memory))
add("cpu", on(cpu))
add("elapsed", on(elapsed))
for name, fn in pairs(plain) do add(name, fn) end

return true
