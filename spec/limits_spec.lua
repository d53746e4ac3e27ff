-- Every bound of limits.def: hits are counted where it is met, and a use where something is counted against
-- it. What the source does is looked at for all; for some a gateway shows that the figures are right.

local client = require("support.client")
local gateway = require("support.gateway")
local limits_table = require("support.limits_table")
local origin = require("support.origin")

-- Bounds that nothing can meet, and why.
local WITHOUT_HITS = {
  ["connection.rate_grace"] = "a time over which rates are measured",
  ["connection.ticket_life"] = "sessions that are too old are just not resumed, inside OpenSSL",
  ["connection.buffer"] = "the size of a read",
  ["dns.tries"] = "c-ares counts its rounds; that they were in vain is an answer with a reason",
  ["dns.ttl_min"] = "a time that is put right", ["dns.ttl_max"] = "a time that is put right",
  ["dns.stale"] = "a time after which there is no answer, with a reason",
  ["plugin_vm.pause"] = "a pause; the quarantines are the hits of plugin_vm.kills",
  ["plugin_vm.pause_max"] = "a pause",
}

-- Counts of which nothing is in use, by their nature, and why. Times, rates and sizes are of single things
-- unless limits.def says otherwise.
local COUNTS_WITHOUT_USE = {
  ["request.header_count"] = "fields of one head", ["upstream.header_count"] = "fields of one head",
  ["request.edits"] = "edits of one message", ["connection.requests"] = "requests of one connection",
  ["dns.tries"] = "rounds of one query", ["h2.resets"] = "a rate", ["h2.control"] = "a rate",
  ["response.decode_ratio"] = "a ratio of one answer", ["request.decode_ratio"] = "a ratio of one body",
}

local function source()
  local parts = {}
  local pipe = io.popen("cat core/*/*.c")
  parts[1] = pipe:read("*a")
  pipe:close()
  return table.concat(parts)
end

describe("the bounds of limits.def", function()
  local list, code

  setup(function()
    list, code = limits_table.read("core/base/limits.def"), source()
  end)

  local function each(check)
    local wrong = {}
    for _, limit in ipairs(list) do
      local why = check(limit)
      if why then wrong[#wrong + 1] = limit.path .. ": " .. why end
    end
    assert.same({}, wrong)
  end

  it("count how often they are met", function()
    each(function(limit)
      local counted = code:find("tg_limit_hit(" .. limit.field .. ")", 1, true)
      if not counted and not WITHOUT_HITS[limit.path] then return "nothing counts its hits" end
      if counted and WITHOUT_HITS[limit.path] then return "is said to have no hits, and has" end
    end)
  end)

  it("report their use, unless there is none by their nature", function()
    each(function(limit)
      local noted = code:find("tg_limit_note(" .. limit.field .. ",", 1, true)
      if limit.used and not noted then return "is USED, and nothing notes the use" end
      if not limit.used and noted then return "is SINGLE, and a use is noted" end
      if limit.unit == "COUNT" and not limit.used and not COUNTS_WITHOUT_USE[limit.path] then
        return "is a count without a use"
      end
      if limit.used and COUNTS_WITHOUT_USE[limit.path] then return "is said to have no use, and has" end
    end)
  end)

  it("are shown with use, high-water mark and hits", function()
    local back, copy = origin.listen(), origin.listen()
    local g = gateway.start({
      vars = { BACK = back.port, COPY = copy.port },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, admin = { listen = "unix:admin.sock" },
                      limits = { mirror = { copies = 2 }, request = { header_count = 10 },
                                 admin = { connections = 8 }, connection = { drain_timeout = "0s" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "back" { targets = { { "127.0.0.1:@BACK@" } }, pool = { max_idle = 0 } }
        tg.service "copy" { targets = { { "127.0.0.1:@COPY@" } } }
        tg.route "all" { service = "back", mirror = { service = "copy" } }
      ]],
    })
    local admin = { unix = g.dir .. "/admin.sock" }

    local function answer(c)
      local conn = back:accept()
      conn:request()
      conn:reply({ status = 200, body = "ok" })
      assert.status(200, c:response())
    end

    local function ask()
      local c = client.connect(g.port)
      c:send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      answer(c)
    end

    for _ = 1, 3 do ask() end -- two copies wait at their origin, the third is one too many
    local copies = { copy:accept(), copy:accept() }
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n" .. ("X: y\r\n"):rep(10) .. "\r\n")
    assert.status(431, c:response())

    local held = client.connect(admin)
    held:send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.status(200, held:response())
    local text = client.get(admin, "/limits").body
    local function shows(path, figures)
      assert.contains(('"path":"%s","unit":"count",%s'):format(path, figures), text)
    end
    shows("mirror.copies", '"value":2,"default":256,"use":2,"peak":2,"hits":1')
    shows("admin.connections", '"value":8,"default":32,"use":2,"peak":2,"hits":0')
    shows("request.header_count", '"value":10,"default":100,"hits":1')

    for _, conn in ipairs(copies) do
      conn:request()
      conn:reply({ status = 200, body = "" })
    end
    require("support.clock").wait_until(function()
      return client.get(admin, "/metrics").body:find('tidegate_limit_use{limit="mirror.copies"} 0', 1, true)
    end, 5, "the copies to end")
    text = client.get(admin, "/metrics").body
    assert.contains('tidegate_limit_use_max{limit="mirror.copies"} 2', text)
    assert.contains('tidegate_limit_hits_total{limit="mirror.copies"} 1', text)
    assert.is_truthy(text:find "tidegate_limit_use_max{limit=\"admin.connections\"} [2-8]\n")
    g:stop()
  end)
end)
