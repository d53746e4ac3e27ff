--- Vectors: what clients send, decoded for a plugin. A short text may hold far more values than fit the
-- plugin's memory, or take long: both are an error of the text, told to the plugin, which is neither killed
-- nor late.

local client = require("support.client")
local gateway = require("support.gateway")

local PLUGIN = [[
local tg = require "tidegate"
local P = { name = "reader", version = "1.0.0", api = 1, stage = "guard" }

local function count(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

function P.access(_, ctx)
  local how, value, err = ctx.req.path:sub(2), nil, nil
  if how == "query" then
    local ok
    ok, value = pcall(ctx.req.query_all, ctx.req)
    if not ok then value, err = nil, value end
  elseif how == "decode" then
    local ok
    ok, value = pcall(tg.query.decode, ctx.req:body())
    if not ok then value, err = nil, value end
  else
    ctx.log:warn "reads"
    value, err = ctx.req[how](ctx.req)
  end
  ctx:exit(200, value and "has " .. count(value) or err.code .. ": " .. err.message)
end
return P
]]

-- `n` parameters with names of their own.
local function parameters(n)
  local list = {}
  for i = 1, n do list[i] = ("%x"):format(i) end
  return table.concat(list, "&")
end

describe("decoded for a plugin", function()
  local g

  setup(function()
    g = gateway.start({
      files = { ["reader.lua"] = PLUGIN },
      config = [[
        local tg = require "tidegate"
        tg.settings {
          workers = 1,
          limits = {
            request = { target = "32KiB" },
            plugin = { cpu = "20s", wall = "1m" },
            plugin_vm = { kills = 1, pause = "1h", pause_max = "1h" },
          },
        }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./reader.lua" {} } }
      ]],
    })
  end)

  teardown(function()
    g:stop()
  end)

  -- The plugin waits for the body: its last byte is sent when it does.
  local function post(how, body)
    local c = client.connect(g.port)
    local from = #g:stderr()
    c:send(("POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(how, #body))
    if how ~= "decode" then
      require("support.clock").wait_until(function() return g:stderr():find("reads", from + 1, true) end)
    end
    c:send(body)
    local response = c:response()
    c:close()
    assert.status(200, response)
    return response.body
  end

  it("a form has as many parameters as are told", function()
    assert.equal("has 4096", post("form", parameters(4096)))
    assert.equal("too_large: more than 4096 parameters", post("form", parameters(4097)))
    assert.equal("too_large: more than 4096 parameters", post("form", parameters(100000)))
  end)

  it("JSON has the values that fit the plugin's memory", function()
    assert.equal("has 3000", post("json", "[" .. ("[],"):rep(2999) .. "[]]"))
    assert.equal("too_large: what the body holds does not fit limits.plugin.memory",
      post("json", "[" .. ("[],"):rep(99998) .. "[]]"))
  end)

  it("a query has as many parameters as are told", function()
    assert.equal("has 4096", client.get(g.port, "/query?" .. parameters(4096)).body)
    assert.contains("limit: ", client.get(g.port, "/query?" .. parameters(4097)).body)
    assert.equal("has 1", client.get(g.port, "/query?" .. ("a&"):rep(4096)).body)
  end)

  it("so has a text that is none of the request's", function()
    assert.equal("has 4096", post("decode", parameters(4096)))
    assert.contains("limit: ", post("decode", parameters(100000)))
    assert.contains("tg.query.decode(): more than 4096 parameters", post("decode", parameters(4097)))
  end)

  it("and nothing of it was the plugin's fault", function()
    assert.is_nil(g:stderr():find("killed", 1, true))
  end)
end)
