--- Orders to a running gateway: `tidegate reload` and `rollback`, what they print and exit with, what /status
-- and the metrics tell afterwards, and who may give them.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local helper = require("reload.helper")

local ROUTE = 'tg.route "all" { paths = { "/*" }, service = echo%s }\n'
local MISTAKES = helper.config('tg.route "all" { pats = { "/*" }, service = echo }\ntg.rout "x" {}\n')

local function config(version)
  return helper.config(ROUTE:format(', tags = { "v' .. version .. '" }'))
end

for name, args in pairs({ ["under a supervisor"] = {}, ["of a single process"] = { "--single" } }) do
  describe("an order " .. name, function()
    local g

    before_each(function()
      g = gateway.start({ config = config(1), args = args })
      clock.wait_until(function()
        return client.try_connect(helper.socket(g)) and helper.get(helper.socket(g), "/readyz").status == 200
      end, 5, "the admin listener")
    end)

    after_each(function()
      g:stop()
    end)

    it("to reload is done when the command ends", function()
      g:write("gateway.lua", config(2))
      local code, out, err = helper.run(g, "reload")
      assert.same({ 0, "" }, { code, err })
      assert.matches("^revision 2 is in force %(sha256 %x%x%x%x%x%x%x%x%x%x%x%x%)\n$", out)
      local status = helper.status(g)
      assert.equal(2, status.revision)
      assert.equal("taken", status.last_reload.result)
      assert.equal(status.digest:sub(1, 12), out:match("sha256 (%x+)"))
      assert.equal(64, #status.digest)
      g:wait_for_log("gateway.lua is in force (revision 2)")
    end)

    it("to reload what has not changed does nothing, and says so", function()
      local code, out = helper.run(g, "reload")
      assert.same({ 0, "nothing has changed, revision 1 stays in force\n" }, { code, out })
      g:signal("HUP")
      clock.wait_until(function()
        local metrics = helper.get(helper.socket(g), "/metrics").body
        return metrics:find('reloads_total{result="unchanged"} 2', 1, true)
      end, 5, "the count of both")
      assert.equal("unchanged", helper.status(g).last_reload.result)
      assert.equal(1, helper.status(g).revision)
    end)

    it("to reload a configuration with mistakes prints all of them and changes nothing", function()
      g:write("gateway.lua", (MISTAKES:gsub("tg%.rout ", "tg.route ")))
      local code, out, err = helper.run(g, "reload")
      assert.same({ 1, "" }, { code, out })
      assert.contains('routes.all.pats: unknown field', err)
      assert.contains('routes.x', err)
      assert.contains("revision 1 stays in force", err)
      g:wait_for_log("routes.all.pats: unknown field")
      assert.status(200, client.get(g.port, "/"))
      local status = helper.status(g)
      assert.equal("refused", status.last_reload.result)
      assert.matches("^gateway.lua:%d+:%d+: routes.all.pats: unknown field .*%(the first of %d mistakes%)$",
        status.last_reload.reason)
      assert.equal(1, status.reloads_refused)
      local metrics = helper.get(helper.socket(g), "/metrics").body
      assert.contains('tidegate_reloads_total{result="bad"} 1\n', metrics)
      assert.contains("tidegate_config_revision 1\n", metrics)
      assert.matches("tidegate_config_last_success_timestamp_seconds %d%d%d%d%d%d%d%d%d%d\n", metrics)
    end)

    it("to reload a configuration that does not even run finds the gateway", function()
      g:write("gateway.lua", (MISTAKES:gsub("tg%.rout ", "tg.rout ")))
      local code, _, err = helper.run(g, "reload")
      assert.equal(1, code)
      assert.contains('tg has no function "rout"', err)
      assert.contains("revision 1 stays in force", err)
    end)

    it("to reload only for trial changes nothing", function()
      g:write("gateway.lua", config(2))
      local code, out = helper.run(g, "reload", "--dry-run")
      assert.same({ 0, "it is valid and would be taken over\n" }, { code, out })
      assert.equal(1, helper.status(g).revision)
      assert.is_nil(helper.status(g).last_reload)
      local fails = helper.config('tg.route "all" { plugins = { tg.use "./bad.lua" {} } }\n')
      g:write("bad.lua", [[return { name = "bad", version = "1", api = 1, stage = "guard",
        init = function() error "by design" end, access = function() end }]])
      g:write("gateway.lua", fails)
      local err
      code, out, err = helper.run(g, "reload", "--dry-run")
      assert.same({ 1, "" }, { code, out })
      assert.contains("by design", err)
      assert.equal(1, helper.status(g).revision)
    end)

    it("to roll back goes to the one before, or to any that is kept", function()
      for version = 2, 12 do helper.reload(g, config(version)) end
      local code, out = helper.run(g, "rollback")
      assert.equal(0, code)
      assert.contains("revision 13 is in force", out)
      local status = helper.status(g)
      assert.equal(11, status.revisions[1].restores)
      assert.equal(status.revisions[3].digest, status.revisions[1].digest)
      assert.equal(10, #status.revisions)
      assert.equal(4, status.revisions[10].revision)
      code = helper.run(g, "rollback", "5")
      assert.equal(0, code)
      assert.equal(5, helper.status(g).revisions[1].restores)
      local err
      code, out, err = helper.run(g, "rollback", "2")
      assert.same({ 1, "" }, { code, out })
      assert.contains("revision 2 is not kept; kept are 5 to 14; revision 14 stays in force", err)
      assert.contains("restores 5", select(2, helper.run(g, "status")))
      assert.equal(2, (helper.run(g, "rollback", "five")))
    end)

    it("to roll back where there is nothing before is refused", function()
      local code, _, err = helper.run(g, "rollback")
      assert.equal(1, code)
      assert.contains("there is no revision before this one", err)
    end)
  end)
end

describe("a rollback", function()
  it("gives what ran, whatever has become of files and environment", function()
    local text = helper.config([[
      local part = require "part"
      tg.include "conf.d/*.lua"
      tg.route "all" { paths = { "/*" }, service = echo, tags = { tg.file "tag", tg.env "HOME" },
                       plugins = { tg.use "./counter.lua" { secret = tg.secret "file:secret" },
                                   tg.use "headers" { response = { set = { ["x-part"] = part.word } } } } }
    ]])
    local g = helper.start({
      config = text,
      files = { ["part.lua"] = 'return { word = "first" }', ["tag"] = "one", ["secret"] = "hush\n",
                ["counter.lua"] = helper.counter(), ["conf.d/a.lua"] = "return 1" },
    })
    local started = g
    finally(function() started:stop() end)
    local function answer() return client.get(g.port, "/").headers end
    assert.equal("first", answer()["x-part"])
    g:write("part.lua", 'return { word = "second" }')
    g:write("secret", "whisper\n")
    helper.reload(g)
    assert.equal("second", answer()["x-part"])
    assert.equal("whisper", answer()["x-secret"])
    os.remove(g.dir .. "/part.lua")
    os.remove(g.dir .. "/secret")
    g:write("conf.d/b.lua", 'error "never read"')
    assert.equal(0, (helper.run(g, "rollback", "--admin", "unix:admin.sock")))
    assert.equal("first", answer()["x-part"])
    assert.equal("hush", answer()["x-secret"])
    -- and so does a gateway process that starts later
    g:signal("KILL", g:pids()[2])
    clock.wait_until(function()
      return select(2, g:stderr():gsub(" serves after ", "")) == 2
    end, 5, "the next process")
    assert.equal("first", answer()["x-part"])
    assert.equal(3, helper.status(g).revision)
    assert.equal(3, #helper.status(g).revisions)
  end)

  it("tells apart what differs in a secret alone, by number and not by digest", function()
    local g = helper.start({
      config = helper.config('tg.route "all" { service = echo, plugins = {' ..
        ' tg.use "./counter.lua" { secret = tg.secret "file:secret" } } }\n'),
      files = { ["secret"] = "a", ["counter.lua"] = helper.counter() },
    })
    local started = g
    finally(function() started:stop() end)
    g:write("secret", "b")
    helper.reload(g)
    local revisions = helper.status(g).revisions
    assert.same({ 2, 1 }, { revisions[1].revision, revisions[2].revision })
    assert.equal(revisions[1].digest, revisions[2].digest)
  end)
end)

describe("the admin listener takes orders", function()
  local function start(admin)
    local g = helper.start({ config = (config(1):gsub('admin = {.-}', admin, 1)), vars = { ADMIN = 0 } })
    finally(function() g:stop() end)
    return g
  end

  local function post(where, path, headers)
    return client.request(where, { method = "POST", target = path, host = "localhost",
                                   headers = headers or {} })
  end

  it("by POST, one at a time, and tells what is wrong with them", function()
    local g = start('admin = { listen = "unix:admin.sock" }')
    local where = helper.socket(g)
    assert.status(405, client.get(where, "/reload"))
    assert.equal("POST", client.get(where, "/rollback").headers.allow)
    assert.status(405, post(where, "/status"))
    for _, path in ipairs({ "/reload?force", "/rollback?revision=", "/rollback?revision=0", "/rollback?to=1",
                            "/rollback?revision=99999999999" }) do
      assert.status(400, post(where, path))
    end
    assert.status(200, post(where, "/reload"))
    assert.status(422, post(where, "/rollback?revision=7"))
  end)

  it("not from a page in a browser", function()
    local g = start('admin = { listen = "unix:admin.sock" }')
    assert.status(403, post(helper.socket(g), "/reload", { Origin = "http://127.0.0.1" }))
  end)

  it("through an address and port only where the settings say so", function()
    local where = { host = require("support.socket").own_address(), port = 9901 }
    local listen = ('admin = { listen = "%s:%d" }'):format(where.host, where.port)
    local g = start(listen)
    local refused = post(where, "/reload")
    assert.status(403, refused)
    assert.contains("settings.admin.write = true", refused.body)
    g:write("gateway.lua", (config(2):gsub("admin = {.-}", (listen:gsub(" }$", ", write = true }")), 1)))
    g:signal("HUP")
    g:wait_for_log("(revision 2)")
    assert.status(200, post(where, "/reload"))
  end)
end)
