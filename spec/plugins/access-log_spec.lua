-- access-log: what a line holds, where it goes, which requests are written, and that a destination which
-- does not keep up costs lines and no request.

local bundled = require("support.bundled")
local cjson = require("cjson")
local client = require("support.client")
local clock = require("support.clock")
local fcntl = require("posix.fcntl")
local gateway = require("support.gateway")
local owned = require("support.owned")
local stat = require("posix.sys.stat")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local ALL = {
  "time", "id", "client", "method", "scheme", "host", "path", "query", "protocol", "status", "source",
  "bytes_sent", "bytes_received", "duration", "upstream", "upstream_status", "upstream_time", "route",
  "service", "user_agent", "referer", "error", "aborted",
}

describe("access-log", function()
  local g

  local function start(conf, options)
    options = options or {}
    g = gateway.start({
      files = options.files,
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 @LIMITS@ }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.global { tg.use "access-log" ]] .. conf .. [[ }
        tg.route "echo" { paths = { "/echo/*" }, service = "echo" }
        tg.route "ok" { paths = { "/ok" }, plugins = { @EXTRA@ tg.use "respond" { body = "ok" } } }
      ]],
      vars = { LIMITS = options.limits or "", EXTRA = options.extra or "" },
    })
    local started = g
    finally(function() started:stop() end)
  end

  -- The lines of what `read` returns, once there are `count` of them.
  local function lines(read, count)
    local found
    clock.wait_until(function()
      found = {}
      for line in (read() or ""):gmatch("([^\n]+)\n") do table.insert(found, line) end
      return #found >= count
    end, 5, count .. " lines of the access log")
    assert.equal(count, #found)
    return found
  end

  local function stdout() return g:stdout() end

  it("writes a line of whatever length a client's values have", function()
    start("{ fields = { 'method', 'path', 'user_agent', 'referer', 'status' } }",
      { extra = [[tg.use "request-id" {},]] })
    client.get(g.port, "/ok", { ["User-Agent"] = ("u"):rep(20000), Referer = ("\"\xff"):rep(2000),
                                ["X-Request-Id"] = "mine" })
    local line = cjson.decode(lines(stdout, 1)[1])
    assert.equal("GET", line.method)
    assert.equal("/ok", line.path)
    assert.equal(200, line.status)
    assert.equal(("u"):rep(#line.user_agent), line.user_agent)
    assert.is_true(line.cut)
    assert.equal("mine", line.request_id)
  end)

  it("writes a line of whatever length its members have, and leaves out what does not fit", function()
    local probe = [[
      local tg = require "tidegate"
      local P = { name = "probe", version = "1.0.0", api = 1, stage = "observe", needs = { sink = true } }
      function P.configure() return { sink = tg.sink "stdout" } end
      function P.log(conf, ctx)
        ctx.log:field("first", 1)
        for i = 1, 16 do ctx.log:field("k" .. i, ('a"b],{'):rep(60) .. "\\") end
        local fields = { "status" }
        for i = 2, 70 do fields[i] = "user_agent" end
        fields[#fields + 1] = "path"
        assert(conf.compiled.sink:write_record(ctx, fields))
        for i = 1, 400 do fields[i] = "user_agent" end
        fields[#fields + 1] = "path"
        assert(conf.compiled.sink:write_record(ctx, fields))
      end
      return P
    ]]
    start('{ fields = { "path" } }', { files = { ["probe.lua"] = probe },
                                       extra = 'tg.use("./probe.lua", { on_error = "fail" }) {},' })
    client.get(g.port, "/ok", { ["User-Agent"] = ("u"):rep(4000) })
    local found = lines(stdout, 3)
    local some, none = 0, 0
    for _, text in ipairs(found) do
      assert.is_true(#text < 16384)
      local line = cjson.decode(text)
      if line.status then -- room for some of what plugins added
        some = some + 1
        assert.equal("/ok", line.path)
        assert.is_true(line.cut)
        assert.equal(1, line.first)
        assert.equal(('a"b],{'):rep(60) .. "\\", line.k1)
        assert.is_nil(line.k16)
      elseif line.user_agent then -- not even for all members
        none = none + 1
        assert.is_true(line.cut)
        assert.is_nil(line.k16)
      end
    end
    assert.equal(1, some)
    assert.equal(1, none)
  end)

  it("writes one line of JSON for each request to stdout", function()
    start("{}")
    client.request(g.port, { method = "POST", target = "/echo/a?b=1", body = "12345",
                             headers = { ["User-Agent"] = 'spec "1"', Host = "a.test:81" } })
    client.get(g.port, "/nowhere")
    local found = lines(stdout, 2)
    assert.matches('^{"time":"%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z","id":"%x+","client":"127.0.0.1","method":"POST",'
      .. '"host":"a.test:81","path":"/echo/a","status":200,"bytes_sent":%d+,"bytes_received":5,'
      .. '"duration":[%d.e-]+,.*"upstream_status":200,"upstream_time":[%d.e-]+,"route":"echo",'
      .. '"service":"echo","user_agent":"spec \\"1\\""}$', found[1])
    assert.contains('"status":404', found[2])
    assert.contains('"error":"no_route"', found[2])
  end)

  it("knows every member that its documentation lists", function()
    start('{ path = "access.log", fields = { "' .. table.concat(ALL, '", "') .. '" } }')
    client.get(g.port, "/echo/a?b=1", { Referer = "http://r.test/" })
    local line = lines(function() return g:read("access.log") end, 1)[1]
    local members = { '"scheme":"http"', '"query":"b=1"', '"protocol":"HTTP/1.1"', '"source":"upstream"',
                      '"referer":"http://r.test/"' }
    for _, member in ipairs(members) do assert.contains(member, line) end
  end)

  it("opens its file anew on SIGUSR1, and on no other signal that may come", function()
    start('{ path = "access.log", fields = { "path" } }')
    local function file(name)
      return function() return g:read(name) end
    end
    client.get(g.port, "/echo/1")
    lines(file "access.log", 1)
    assert(os.rename(g.dir .. "/access.log", g.dir .. "/access.log.1"))
    for _, pid in ipairs(g:pids()) do g:signal("USR2", pid) end
    client.get(g.port, "/echo/2")
    lines(file "access.log.1", 2)
    g:signal("USR1")
    clock.wait_until(function() return g:read("access.log") end, 5, "a new file")
    client.get(g.port, "/echo/3")
    assert.same({ '{"path":"/echo/3"}' }, lines(file "access.log", 1))
    assert.same({ '{"path":"/echo/1"}', '{"path":"/echo/2"}' }, lines(file "access.log.1", 2))
  end)

  it("writes the members in the order given, then what plugins add", function()
    local probe = [[
      local P = { name = "probe", version = "1.0.0", api = 1, stage = "guard" }
      function P.access(_, ctx) ctx.log:field("user", "a\"b"):field("n", 2.5):field("ok", true) end
      return P
    ]]
    start('{ fields = { "status", "path" } }', { files = { ["probe.lua"] = probe },
                                                  extra = 'tg.use "./probe.lua" {},' })
    client.get(g.port, "/ok")
    assert.equal('{"status":200,"path":"/ok","user":"a\\"b","n":2.5,"ok":true}', lines(stdout, 1)[1])
  end)

  it("notes an id that the client chose", function()
    start('{ fields = { "path" } }', { extra = 'tg.use "request-id" {},' })
    client.get(g.port, "/ok", { ["X-Request-Id"] = "mine" })
    assert.equal('{"path":"/ok","request_id":"mine"}', lines(stdout, 1)[1])
  end)

  it("keeps control characters and quotes of clients inside their member", function()
    start('{ fields = { "user_agent", "path" } }')
    client.get(g.port, '/ok"', { ["User-Agent"] = "a\t\"}\\" })
    assert.equal('{"user_agent":"a\\t\\"}\\\\","path":"/ok\\""}', lines(stdout, 1)[1])
  end)

  it("writes the chosen statuses only", function()
    start('{ only_status = { "200", "500-599" }, fields = { "path" } }')
    client.get(g.port, "/nowhere")
    client.get(g.port, "/ok")
    assert.equal('{"path":"/ok"}', lines(stdout, 1)[1])
    g:stop()
    assert.equal('{"path":"/ok"}\n', g:stdout())
  end)

  it("takes a sample", function()
    start('{ sample = 0.5, fields = { "path" } }')
    local c = client.connect(g.port)
    for _ = 1, 200 do c:get("/ok") end
    c:close()
    g:stop()
    local _, count = g:stdout():gsub("\n", "")
    assert.is_true(count > 40 and count < 160, count .. " of 200 requests were written")
  end)

  it("writes nothing for a sample of 0", function()
    start("{ sample = 0 }")
    client.get(g.port, "/ok")
    g:stop()
    assert.equal("", g:stdout())
  end)

  it("drops lines for a pipe that is full, counts them, and goes on with requests", function()
    local folder = assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-spec-XXXXXX"))
    local path = folder .. "/pipe"
    assert(stat.mkfifo(path, tonumber("600", 8)))
    local pipe = assert(fcntl.open(path, fcntl.O_RDWR + fcntl.O_NONBLOCK))
    owned.add({}, function()
      unistd.close(pipe)
      os.remove(path)
      os.remove(folder)
    end)
    repeat until not unistd.write(pipe, ("-"):rep(4095) .. "\n")
    start(('{ path = "%s", fields = { "path", "user_agent" } }'):format(path),
      { limits = ', limits = { log = { queue = "4KiB" } }' })
    -- The pipe is full and the queue takes 4 KiB, so 20 lines of 1 KiB are too many.
    local c = client.connect(g.port)
    for _ = 1, 20 do
      assert.status(200, c:get("/ok", { ["User-Agent"] = ("u"):rep(1000) }))
    end
    c:close()
    local text, written, dropped = "", 0, 0
    clock.wait_until(function()
      text = text .. (unistd.read(pipe, 65536) or "")
      written, dropped = 0, 0
      for line in text:gmatch("([^\n]+)\n") do
        written = written + (line:find("^{\"path\":\"/ok\",\"user_agent\":\"u+\"}$") and 1 or 0)
        dropped = dropped + (tonumber(line:match("dropped (%d+) lines")) or 0)
      end
      return written + dropped == 20
    end, 5, "20 lines, written or counted")
    assert.is_true(dropped > 0)
    assert.is_true(written <= 4, written .. " lines were written")
  end)

  it("tells at the start when the destination does not open", function()
    local failed = gateway.start({
      wait = false,
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { service = "echo", plugins = { tg.use "access-log" { path = "@DIR@/none/a.log" } } }
      ]],
    })
    assert.equal(1, failed:wait(10).code)
    assert.contains("path: cannot open", failed:stderr())
    assert.contains("No such file or directory", failed:stderr())
  end)
end)

describe("access-log: its config", function()
  local refused = {
    { '{ fields = {} }', "fields", "the list is empty" },
    { '{ fields = { "statsu" } }', "fields[1]", 'did you mean "status"?' },
    { '{ fields = { "path", "path" } }', "fields[2]", "same as item 1" },
    { '{ sample = 2 }', "sample", "2 is above the maximum 1" },
    { '{ only_status = { "6xx" } }', "only_status[1]", '"6xx" is no status' },
    { '{ only_status = { "500-400" } }', "only_status[1]", "is no status" },
    { '{ to = "stdout" }', "to", "unknown field" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text = bundled.check("access-log", case[1])
      assert.contains("(access-log)." .. case[2], text)
      assert.contains(case[3], text)
    end)
  end
end)
