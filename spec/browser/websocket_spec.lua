-- Chromium, headless: a page over the gateway opens a WebSocket over it, and tells what it saw.
-- `make browser` installs the browser and runs it; `make test` leaves this folder out.

local gateway = require("support.gateway")
local origin = require("support.origin")
local owned = require("support.owned")
local process = require("support.process")
local unistd = require("posix.unistd")
local ws = require("support.websocket")

local PAGE = [[
<!doctype html><title>chat</title><script>
const said = []
const socket = new WebSocket(`ws://${location.host}/chat`, ["v1"])
socket.onopen = () => socket.send("hello \u20ac")
socket.onmessage = (event) => { said.push(event.data); if (said.length == 1) socket.send("close me") }
socket.onclose = (event) => fetch("/told", { method: "POST",
  body: [socket.protocol, socket.extensions, event.code, event.reason, event.wasClean, ...said].join("|") })
</script>
]]

local MANNERS = [[
return { name = "manners", version = "1", api = 1, stage = "guard",
  message = function(_, ctx, data)
    if data == "close me" then ctx:close(4000, "with pleasure") end
  end }
]]

local function start_chromium(url)
  local dir = os.tmpname()
  os.remove(dir)
  local log = process.output(dir .. ".log")
  local p = process.spawn({ group = true, stdout = log, stderr = log, argv = {
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--user-data-dir=" .. dir, url } })
  unistd.close(log)
  return owned.add({ stop = function(self)
    if self.running then
      self.running = false
      p:kill()
      os.execute(("rm -rf '%s' '%s.log'"):format(dir, dir))
    end
  end, running = true }, function(self) self:stop() end)
end

describe("Chromium", function()
  it("loads a page and talks over its WebSocket", function()
    local o = origin.listen()
    local g = gateway.start({ vars = { ORIGIN = o.port }, files = { ["manners.lua"] = MANNERS }, config = [[
      local tg = require "tidegate"
      tg.settings { workers = 1 }
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.service "app" { targets = { { "127.0.0.1:@ORIGIN@" } }, pool = { max_idle = 0 } }
      tg.route "app" { service = "app" }
      tg.route "chat" { paths = { "/chat" }, service = "app", websocket = { ping = "5s" },
                        plugins = { tg.use "./manners.lua" {} } }
    ]] })
    local browser = start_chromium(("http://127.0.0.1:%d/"):format(g.port))
    finally(function()
      browser:stop()
      g:stop()
    end)
    local told
    repeat
      local conn = o:accept(60)
      local request = conn:request(20)
      if request.target == "/" then
        conn:reply({ status = 200, headers = { ["Content-Type"] = "text/html" }, body = PAGE })
      elseif request.target == "/chat" then
        assert.no_header("sec-websocket-extensions", request)
        conn:send(ws.answer(request, "Sec-WebSocket-Protocol: v1\r\n"))
        ws.expect(conn, { text = "hello \226\130\172" })
        conn:send(ws.frame({ text = "welcome" }))
        assert.equal("with pleasure", ws.expect_close(conn, 4000).reason)
      elseif request.target == "/told" then
        told = request.body
        conn:reply({ status = 204 })
      else
        conn:reply({ status = 404 })
      end
    until told
    assert.equal("v1||4000|with pleasure|true|welcome", told)
  end)
end)
