-- ctx.tls and ctx.consumer: there for every request, with nothing in them in clear text and for nobody, so
-- that a plugin which looks at them runs wherever it is put.

local client = require("support.client")
local gateway = require("support.gateway")

local HEAD = [[
local P = { name = "probe", version = "1.0.0", api = 1, stage = "transform" }
local function tls(ctx)
  return ("%s %s %s"):format(tostring(ctx.tls.sni), tostring(ctx.tls.alpn), tostring(ctx.tls.version))
end
local function consumer(ctx)
  local c = ctx.consumer
  return ("%s %s%d %s%d %s"):format(tostring(c.name), type(c.groups), #c.groups, type(c.tags), #c.tags,
    tostring(c:in_group "staff"))
end
]]

describe("ctx.tls and ctx.consumer", function()
  local g

  local function start(body)
    g = gateway.start({
      files = { ["probe.lua"] = HEAD .. body .. "\nreturn P\n" },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@", plugins = { tg.use "./probe.lua" {} } }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo" }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  it("are objects of clear text and of nobody in every phase that has them", function()
    start([[
      function P.rewrite(_, ctx) ctx.state.rewrite = tls(ctx) end
      function P.access(_, ctx) ctx.state.access = tls(ctx) .. ", " .. consumer(ctx) end
      function P.header_filter(_, ctx)
        ctx.resp:set_header("x-rewrite", ctx.state.rewrite):set_header("x-access", ctx.state.access)
        ctx.resp:set_header("x-header-filter", tls(ctx) .. ", " .. consumer(ctx))
      end
      function P.body_filter(_, ctx, _, eof) return eof and tls(ctx) .. ", " .. consumer(ctx) or "" end
      function P.log(_, ctx) ctx.log:warn("log: " .. tls(ctx) .. ", " .. consumer(ctx)) end
    ]])
    local answer = client.get(g.port, "/")
    local all = "nil nil nil, nil table0 table0 false"
    assert.equal("nil nil nil", answer.headers["x-rewrite"])
    assert.equal(all, answer.headers["x-access"])
    assert.equal(all, answer.headers["x-header-filter"])
    assert.equal(all, answer.body)
    g:wait_for_log("log: " .. all)
  end)

  it("say what is wrong with a use of them", function()
    start([[
      local tries = {
        early = function(ctx) return ctx.consumer end,
        unknown = function(ctx) return ctx.tls.issuer end,
        write = function(ctx) ctx.consumer.name = "me" end,
        argument = function(ctx) return ctx.consumer:in_group() end,
      }
      function P.rewrite(_, ctx)
        if ctx.req.path == "/early" then
          local _, err = pcall(tries.early, ctx)
          ctx:exit(200, tostring(err))
        end
      end
      function P.access(_, ctx)
        local _, err = pcall(tries[ctx.req.path:sub(2)], ctx)
        ctx:exit(200, tostring(err))
      end
    ]])
    local early = client.get(g.port, "/early").body
    assert.contains("ctx.consumer is not available in rewrite", early)
    assert.contains("no route is known yet", early)
    assert.contains("issuer", client.get(g.port, "/unknown").body)
    assert.is_not.equal("nil", client.get(g.port, "/write").body)
    assert.contains("ctx.consumer:in_group(): argument 1 (group)", client.get(g.port, "/argument").body)
  end)
end)
