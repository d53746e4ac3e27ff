--- Vectors: arguments. Every function of the API that `tidegate types` declares is called with values that it
-- is not made for, in the place of each of its arguments: the wrong type, numbers that are none, beyond every
-- range or between two integers, texts that are huge or hold NUL, tables with holes, in a circle or with
-- metamethods, objects of a request that is over. What comes back is a result, or an error that says which
-- call it is about; nothing is killed, and the gateway goes on.

local client = require("support.client")
local command = require("support.command")
local gateway = require("support.gateway")

-- What both plugins begin with: `call(name, fn, object, args, count)` calls `fn` with each hostile value in
-- the place of each argument, and notes in `complaints` what is no proper answer.
local HEAD = [=[
local tg = require "tidegate"
local huge, circle, deep = ("x"):rep(70000), {}, {}
circle[1], circle.c = circle, circle
do local at = deep for _ = 1, 100 do at[1] = {} at = at[1] end end
local function refuse() error("a metamethod was called") end
local armed = setmetatable({}, { __index = refuse, __newindex = refuse, __len = refuse, __tostring = refuse,
  __call = refuse, __concat = refuse, __eq = refuse, __lt = refuse, __unm = refuse })
local kept = {}
local hostile = {
  false, true, 0, -0.0, -1, 0.5, 0 / 0, 1 / 0, -1 / 0, 2 ^ 31, -2 ^ 31 - 1, 2 ^ 32 + 1, 2 ^ 53 + 2, 2 ^ 63,
  -2 ^ 63, 1e308, 1e-308, "", "\0", "a\0b", "\r\n", "%s%n", "\255\192\128", "-1s", ("9"):rep(400) .. "s",
  "1e99GiB", huge, {}, { 1, nil, 3 }, { nil, 2 }, circle, deep, armed, { [0.5] = 1, [2 ^ 53] = 2 },
  { [print] = print }, { [{}] = {} }, { huge, huge, huge }, { a = 0 / 0 }, { max = -1 }, { max = 0 / 0 },
  { max = 1 / 0 }, { ttl = 0 / 0 }, { ttl = -1 }, { wait = 2 ^ 63 }, { level = 2 ^ 31 },
  { limit = 2 ^ 32, per = 2 ^ 63 }, { limit = 0 / 0, per = 0 / 0 }, { code = {}, message = circle },
  { service = armed }, print, coroutine.create(print), tg, tg.json.null,
  setmetatable({}, { __metatable = false }),
}
local hostile_count = #hostile
local complaints, calls = {}, 0

local function judge(name, ok, err)
  calls = calls + 1
  if ok then return end
  local text = type(err) == "table" and rawget(err, "message") or err
  local member = name:match "[^.:]+$"
  if type(text) == "string" and (text:find(member .. "(", 1, true) or text:find("JSON: ", 1, true)
      or text:find("request context used", 1, true)) then
    return
  end
  complaints[#complaints + 1] = name .. ": " .. tostring(text)
end

local function value_at(i)
  if i <= hostile_count then return hostile[i] end
  return kept[i - hostile_count] -- stale objects; nil at last
end

local function call(name, fn, object, args, count)
  for place = 1, count do
    for i = 1, hostile_count + 3 do
      local list = {}
      for k = 1, count do list[k] = args[k] end
      list[place] = value_at(i)
      if object == nil then
        judge(name, pcall(fn, unpack(list, 1, count)))
      else
        judge(name, pcall(fn, object, unpack(list, 1, count)))
      end
    end
  end
  if object ~= nil then
    for i = 1, hostile_count + 3 do judge(name, pcall(fn, value_at(i), unpack(args, 1, count))) end
  end
  judge(name, pcall(fn)) -- without any
end
]=]

-- Arguments that are right, by function, where those by type would not reach far.
local ARGUMENTS = [=[
local function arguments(ctx, one)
  return {
    ["Base64.encode"] = { "x", { url = true } }, ["Base64.decode"] = { "eA", { url = true } },
    ["Cache.fetch"] = { "k", { ttl = 1 }, function() return 1 end }, ["Cache.set"] = { "k", 1, { ttl = 1 } },
    ["Client.cert"] = {}, ["Consumer.authenticate"] = { one.KnownConsumer, { id = "x" } },
    ["Consumers.by_credential"] = { "key", "x" }, ["Cookie.encode"] = { "a", "b", {} },
    ["Counter.inc"] = { ctx, 1 },
    ["Crypto.aead_seal"] = { "aes-256-gcm", ("k"):rep(32), ("n"):rep(12), "x", "y" },
    ["Crypto.aead_open"] = { "aes-256-gcm", ("k"):rep(32), ("n"):rep(12), ("s"):rep(20), "y" },
    ["Crypto.hmac"] = { "sha256", "k", "d" }, ["Crypto.pbkdf2"] = { "sha256", "p", "s", 1, 32 },
    ["Crypto.sign"] = { one.Key, "ed25519", "x" },
    ["Crypto.verify"] = { one.Key, "ed25519", ("s"):rep(64), "x" },
    ["Ctx.exit"] = { 204, "", {} }, ["Ctx.redirect"] = { "/x", 302 }, ["Ctx.fail"] = { "x" },
    ["Ctx.sleep"] = { 0 }, ["Ctx.spawn"] = { function() end, 1 }, ["Ctx.set_service"] = { "echo" },
    ["Dict.cas"] = { "k", nil, 1, { ttl = 1 } }, ["Dict.incr"] = { "n", 1, { init = 0 } },
    ["Dict.set"] = { "k", 1, { ttl = 1 } }, ["Dict.add"] = { "k", 1, { ttl = 1 } },
    ["Events.publish"] = { "t", 1 }, ["Http.get"] = { "echo", "/", { timeout = "1s" } },
    ["Http.post"] = { "echo", "/", { body = "x" } }, ["Http.request"] = { { service = "echo" } },
    ["Ip.network"] = { "10.1.2.3", 24, 64 }, ["Json.decode"] = { "[1]" },
    ["Library.cache"] = { "c" }, ["Library.dict"] = { "d" }, ["Library.gzip"] = { "x", { level = 1 } },
    ["Library.lock"] = { "d", "k", { ttl = "1ms" } }, ["Library.template"] = { "${req.path}", "none" },
    ["Library.gunzip"] = { tg.gzip "x", { max = 10 } },
    ["LibraryLog.debug"] = { "m", { a = 1 } }, ["LibraryLog.info"] = { "m", { a = 1 } },
    ["LibraryLog.warn"] = { "m", { a = 1 } }, ["LibraryLog.error"] = { "m", { a = 1 } },
    ["LibraryMetrics.inc"] = { "hits", { l = "x" }, 1 }, ["LibraryMetrics.set"] = { "level", nil, 1 },
    ["LibraryMetrics.observe"] = { "spent", nil, 1 }, ["LibraryMetrics.counter"] = { "hits", { l = "x" } },
    ["Limit.adaptive"] = { "l", "a", { max = 10, latency = "1s" } }, ["Limit.concurrency"] = { "l", "c", 10 },
    ["Limit.bucket"] = { "l", "b", { rate = 10 } }, ["Limit.gcra"] = { "l", "g", { limit = 10, per = "1s" } },
    ["Limit.window"] = { "l", "w", { limit = 10, per = "1s" } }, ["Log.field"] = { "k", "v" },
    ["Log.debug"] = { "m", { a = 1 } }, ["Log.info"] = { "m", { a = 1 } }, ["Log.warn"] = { "m", { a = 1 } },
    ["Log.error"] = { "m", { a = 1 } }, ["Metrics.inc"] = { "hits", { l = "x" }, 1 },
    ["Metrics.set"] = { "level", nil, 1 }, ["Metrics.observe"] = { "spent", nil, 1 },
    ["Query.encode"] = { { a = "b" } }, ["Quota.take"] = { ctx }, ["Re.compile"] = { "(a|b)", "i" },
    ["Regex.gsub"] = { "abc", "$1", 2 }, ["Resp.edit"] = { one.Edits }, ["Resp.set_status"] = { 200 },
    ["Resp.set_cookie"] = { "a", "b", { path = "/" } }, ["Shared.get"] = { "arguments.value" },
    ["Shared.set"] = { "value", 1 }, ["Sink.write_record"] = { ctx, { "id" } }, ["Task.wait"] = { 0 },
    ["Template.render"] = { ctx }, ["Time.parse"] = { "Tue, 15 Nov 1994 08:12:31 GMT" },
    ["Timers.after"] = { "1h", print, 1 }, ["Timers.every"] = { "1h", print, { jitter = 1 } },
    ["Upstream.edit"] = { one.UpstreamEdits }, ["Upstream.set_body"] = { "x" },
    ["Upstream.set_path"] = { "/x" },
    ["Upstream.set_target"] = { "127.0.0.1", 1 }, ["Upstream.set_timeout"] = { { connect = 1 } },
    ["Upstream.set_retry"] = { { attempts = 1, on = { 500 } } },
  }
end
]=]

-- In access, a request for each function; those that may wait are called in tasks, and for those that end the
-- phase there is a request for each value.
local ARGUMENTS_PLUGIN = HEAD .. ARGUMENTS .. [=[
local P = { name = "arguments", version = "1.0.0", api = 1, stage = "guard", exports = { "value" },
  needs = { http = true, timers = true, events = true, sink = true, cache = "1MiB", dict = "1MiB",
    limit = "1MiB" },
  metrics = { hits = { type = "counter", labels = { "l" } }, level = { type = "gauge" },
    spent = { type = "histogram" } } }
local made = {}

function P.init()
  made.Queue = tg.queue { name = "q", handler = print }
  made.Sink = tg.sink "stderr"
  made.Timer = tg.timer.after("1h", print)
  made.Template = tg.template "${req.path}"
  made.Key = tg.crypto.key [[
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----]]
end

function P.configure()
  made.Edits, made.UpstreamEdits = tg.edits { set = { ["x-a"] = "b" } }, tg.edits { remove = { "x-a" } }
  made.Counter = tg.metrics.counter("hits", { l = "x" })
  made.Quota = tg.limit.quota { limits = { { limit = 10000, per = "1s" } } }
end

local PARTS = { Shared = "shared", Tls = "tls", Req = "req", Consumer = "consumer", Upstream = "upstream",
  Resp = "resp", Log = "log", Metrics = "metrics" }

-- The object whose methods are called; nil where functions of a library have none.
local function object_of(class, ctx)
  if class == "Ctx" then return ctx end
  if PARTS[class] then return ctx[PARTS[class]] end
  if class == "Dict" then return tg.dict "d" end
  if class == "Cache" then return tg.cache "c" end
  if class == "Regex" then return tg.re.compile "(a|b)" end
  if class == "IpSet" then return tg.ip.set { "10.0.0.0/8" } end
  if class == "Task" then return ctx:spawn(function() ctx:sleep "1h" end) end
  if class == "Lease" then return tg.lock("d", "lease") end
  if class == "Permit" then return tg.limit.concurrency("l", "permit", 10) end
  if class == "KnownConsumer" then return tg.consumers.get "somebody" end
  if class == "ServiceHandle" then return tg.services.get "echo" end
  if class == "HttpResponse" then return tg.http.get("echo", "/") end
  return made[class]
end

local LIBRARIES = { Json = "json", Time = "time", Uuid = "uuid", Base64 = "base64", Hex = "hex", Url = "url",
  Crypto = "crypto", Re = "re", Query = "query", Cookie = "cookie", Html = "html", Ip = "ip",
  Timers = "timer",
  Events = "events", Limit = "limit", Services = "services", Http = "http", Consumers = "consumers",
  LibraryMetrics = "metrics", LibraryLog = "log" }

local function function_of(class, member, object)
  if object ~= nil then return object[member] end
  return (class == "Library" and tg or tg[LIBRARIES[class]])[member]
end

-- What may wait does so in a task, which is left alone once it does.
local function call_aside(ctx, name, fn, object, args, count)
  for place = 0, count do
    for i = 1, place == 0 and 1 or hostile_count + 3 do
      local list = {}
      for k = 1, count do list[k] = args[k] end
      if place > 0 then list[place] = value_at(i) end
      local task = ctx:spawn(function()
        if object == nil then judge(name, pcall(fn, unpack(list, 1, count)))
        else judge(name, pcall(fn, object, unpack(list, 1, count))) end
      end)
      ctx:sleep(0)
      ctx:sleep(0)
      task:cancel()
      ctx:sleep(0)
    end
  end
end

function P.access(_, ctx)
  local name = ctx.req:query "name"
  if not name then
    kept[1], kept[2] = ctx, ctx.req
    return
  end
  local class, separator, member = name:match "^(%w+)([.:])([%w_]+)$"
  local count = tonumber(ctx.req:query "count")
  local one = setmetatable({ KnownConsumer = tg.consumers.get "somebody" }, { __index = made })
  local object
  if separator == ":" then object = object_of(class, ctx) end
  local fn = function_of(class, member, object)
  local args = arguments(ctx, one)[class .. "." .. member] or { "a", "b", "c" }
  local place, nth = tonumber(ctx.req:query "place"), tonumber(ctx.req:query "nth")
  if place then
    if nth > hostile_count + 3 then ctx:exit(200, "no more") end
    args[place] = value_at(nth)
    fn(object, unpack(args, 1, count))
    ctx:exit(200, "returned")
  end
  if ctx.req:query "waits" then
    call_aside(ctx, name, fn, object, args, count)
  else
    call(name, fn, object, args, count)
  end
  local text = calls .. " calls\n" .. table.concat(complaints, "\n")
  complaints, calls = {}, 0
  if class == "Resp" or class == "Upstream" then return end -- its edits would be the answer's
  ctx:exit(200, text)
end
return P
]=]

-- In configure: what prepares, and the rest of the library once more, with nothing to wait in.
local SETUP_PLUGIN = HEAD .. [=[
local P = { name = "setup", version = "1.0.0", api = 1, stage = "guard",
  needs = { events = true, sink = true, limit = "1MiB" },
  metrics = { hits = { type = "counter", labels = { "l" } } } }

function P.configure()
  local never = 'method == "NEVER"'
  local counter = tg.metrics.counter("hits", { l = "x" })
  local edits = tg.edits { set = { ["x-a"] = "b" } }
  local quota = tg.limit.quota { limits = { { limit = 10000, per = "1s" } } }
  call("counter", tg.metrics.counter, nil, { "hits", { l = "x" } }, 2)
  call("template", tg.template, nil, { "${req.path}", "none" }, 2)
  call("sink", tg.sink, nil, { "stderr" }, 1)
  call("queue", tg.queue, nil, { { name = "q", handler = print } }, 1)
  call("edits", tg.edits, nil, { { set = { a = "b" } } }, 1)
  call("quota", tg.limit.quota, nil, { { limits = { { limit = 1 } } } }, 1)
  call("subscribe", tg.events.subscribe, nil, { "t", print }, 2)
  call("instead_of", counter.instead_of, counter, { "log", never, nil }, 3)
  call("instead_of", edits.instead_of, edits, { "header_filter", never, nil }, 3)
  call("instead_of", quota.instead_of, quota, { "access", never, nil }, 3)
  for _, field in ipairs { "limits", "zone", "headers", "dry_run", "refusal" } do
    for i = 1, hostile_count do
      judge("quota", pcall(tg.limit.quota, { limits = { { limit = 1 } }, [field] = hostile[i] }))
    end
  end
  for _, field in ipairs { "limit", "per", "key", "algorithm", "burst", "cost", "absent", "min", "latency",
      "name" } do
    for i = 1, hostile_count do
      judge("quota", pcall(tg.limit.quota, { limits = { { limit = 1, [field] = hostile[i] } } }))
    end
  end
  for _, field in ipairs { "remove", "set", "fill", "add", "compress", "decompress" } do
    for i = 1, hostile_count do judge("edits", pcall(tg.edits, { [field] = hostile[i] })) end
  end
  for _, field in ipairs { "name", "handler", "batch", "flush", "max_bytes", "retry" } do
    for i = 1, hostile_count do
      judge("queue", pcall(tg.queue, { name = "q", handler = print, [field] = hostile[i] }))
    end
  end
end

-- The one phase for which nothing of the above stands in.
function P.body_filter(_, _, _, eof)
  return eof and calls .. " calls\n" .. table.concat(complaints, "\n") or ""
end
return P
]=]

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings {
    workers = 1, log = { level = "error" },
    limits = {
      request = { memory = "16MiB" },
      plugin = { memory = "64MiB", churn = "4GiB", cpu = "60s", wall = "5m" },
      plugin_vm = { heap = "256MiB" },
    },
  }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.zone.dict "d" { size = "1MiB" }
  tg.zone.cache "c" { size = "1MiB" }
  tg.zone.limit "l" { size = "1MiB" }
  tg.consumer "somebody" {}
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./@FILE@" {} } }
]]

-- Functions that are for phases or places of their own, and tested there.
local ELSEWHERE = {
  ["Ctx:abort"] = true, ["Ctx:close"] = true, ["Tls:reject"] = true, -- end the exchange
  ["Library.sink"] = true, ["Library.template"] = true, ["Library.queue"] = true, ["Library.edits"] = true,
  ["Limit.quota"] = true, ["LibraryMetrics.counter"] = true, ["Events.subscribe"] = true, -- in configure
  ["Counter:instead_of"] = true, ["Edits:instead_of"] = true, ["Quota:instead_of"] = true,
}
local ENDS = { ["Ctx:exit"] = true, ["Ctx:redirect"] = true, ["Ctx:fail"] = true }
local WAITS = { ["Ctx:sleep"] = true, ["Task:wait"] = true, ["Cache:fetch"] = true, ["Library.lock"] = true,
  ["Http.request"] = true, ["Http.get"] = true, ["Http.post"] = true, ["Ctx:spawn"] = true }

describe("arguments of the API #slow", function()
  local functions = {} -- { name, count of arguments }

  setup(function()
    local folder = command.folder()
    local _, text = folder:run("types", "--stdout")
    folder:close()
    for name, list in text:gmatch "\nfunction (%w+[.:][%w_]+)(%b()) end" do
      local _, commas = list:gsub(",", "")
      functions[#functions + 1] = { name, list == "()" and 0 or commas + 1 }
    end
  end)

  local g, pids

  local function start(file, text)
    g = gateway.start({ config = CONFIG, vars = { FILE = file }, files = { [file] = text } })
    assert.status(200, client.get(g.port, "/"))
    pids = g:pids()
  end

  local function finish()
    assert.same(pids, g:pids())
    assert.is_nil(g:stderr():find("killed", 1, true))
    g:stop()
  end

  it("are refused by name, or make a result, while a request runs", function()
    start("arguments.lua", ARGUMENTS_PLUGIN)
    local called, made = 0, 0
    for _, entry in ipairs(functions) do
      local name, count = entry[1], entry[2]
      if not ELSEWHERE[name] and not ENDS[name] then
        local response = client.get(g.port,
          ("/?name=%s&count=%d%s"):format(name, count, WAITS[name] and "&waits=1" or ""), { seconds = 60 })
        called = called + 1
        if not name:find "^Resp" and not name:find "^Upstream" then
          assert.equal(200, response.status, name .. ": " .. g:stderr():sub(-600))
          local number, complaints = response.body:match "^(%d+) calls\n(.*)$"
          assert.equal("", complaints, name)
          made = made + number
        end
      end
    end
    assert.is_true(made > 10000)
    assert.is_true(called > 120)
    finish()
  end)

  it("are refused, or answer, where a call ends the phase", function()
    start("arguments.lua", ARGUMENTS_PLUGIN)
    for _, entry in ipairs(functions) do
      local name, count = entry[1], entry[2]
      for place = 1, ENDS[name] and count or 0 do
        local nth, response = 0
        repeat
          nth = nth + 1
          response = client.get(g.port,
            ("/?name=%s&count=%d&place=%d&nth=%d"):format(name, count, place, nth))
          assert.is_true(response.status >= 200 and response.status < 600)
        until response.body == "no more"
      end
    end
    finish()
  end)

  it("are refused by name, or make a result, in configure", function()
    start("setup.lua", SETUP_PLUGIN)
    local calls, complaints = client.get(g.port, "/").body:match "^(%d+) calls\n(.*)$"
    assert.equal("", complaints)
    assert.is_true(tonumber(calls) > 1000)
    finish()
  end)
end)
