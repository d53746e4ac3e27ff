-- Certificates that are renewed: their files change, and the next handshake shows the new ones, without an
-- order. What does not fit together is refused with a reason, and what is in force stays.

local admin = require("admin.helper")
local gateway = require("support.gateway")
local tls = require("support.tls")

local FILES = tls.files({
  main = { names = { "old.test" } },
  new = { names = { "new.test" } },
  third = { names = { "third.test" } },
})

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 2, admin = { listen = "unix:admin.sock" } }
  tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { certificates = {
    { cert = tg.file "tls/main.pem", key = tg.secret "file:tls/main.key" } } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

describe("a certificate's files", function()
  local g

  before_each(function()
    local files = { ["tls/main.pem"] = FILES["main.pem"], ["tls/main.key"] = FILES["main.key"] }
    g = gateway.start({ config = CONFIG, files = files })
  end)

  after_each(function() g:stop() end)

  -- As tools do it: a new file takes the place of the old one.
  local function replace(name, text)
    g:write(name .. ".tmp", text)
    assert(os.rename(g.dir .. "/" .. name .. ".tmp", g.dir .. "/" .. name))
  end

  local function subject() return tls.s_client(g).subject end

  it("take effect when both have changed, in the same process", function()
    assert.equal("old.test", subject())
    local before = g:pids()
    replace("tls/main.pem", FILES["new.pem"])
    replace("tls/main.key", FILES["new.key"])
    g:wait_for_log("new certificates are in force (revision 2)")
    assert.equal("new.test", subject())
    assert.same(before, g:pids())
  end)

  it("are refused while they do not fit together, with file and reason, and taken when they do", function()
    replace("tls/main.pem", FILES["new.pem"])
    g:wait_for_log("the certificates that changed are not taken")
    assert.contains("tls/main.key: ", g:stderr())
    assert.contains("those of revision 1 stay", g:stderr())
    assert.equal("old.test", subject())
    replace("tls/main.key", FILES["new.key"])
    g:wait_for_log("new certificates are in force (revision 2)")
    assert.equal("new.test", subject())
  end)

  it("may be gone or rubbish for a while", function()
    os.remove(g.dir .. "/tls/main.pem")
    g:wait_for_log("the certificates that changed are not taken")
    assert.equal("old.test", subject())
    g:write("tls/main.pem", "rubbish")
    g:wait_for_log("this is not a certificate in PEM")
    assert.equal("old.test", subject())
    g:write("tls/main.pem", FILES["third.pem"])
    g:write("tls/main.key", FILES["third.key"])
    g:wait_for_log("new certificates are in force (revision 2)")
    assert.equal("third.test", subject())
  end)

  it("are all that is read anew: an edited configuration waits for its order", function()
    g:write("gateway.lua", "this is no configuration any more")
    g:write("tls/main.pem", FILES["new.pem"])
    g:write("tls/main.key", FILES["new.key"])
    g:wait_for_log("new certificates are in force (revision 2)")
    assert.equal("new.test", subject())
  end)

  -- Reads other certificates than those in force and does not come into force.
  local OTHER = CONFIG:gsub("main%.", "other.")
  local BAD = "local P = { name = 'bad', version = '1.0.0', api = 1, stage = 'edge' }\n" ..
              "function P.init() error('never') end\nfunction P.rewrite() end\nreturn P\n"
  for what, try in pairs {
    ["a dry run"] = { config = OTHER, order = { "reload", "--dry-run" }, code = 0 },
    ["a reload that a plugin refused"] = { config = OTHER .. '  tg.global { tg.use "./bad.lua" {} }\n',
                                           order = { "reload" }, code = 1 },
  } do
    it("are those of what is in force, whatever " .. what .. " has read", function()
      g:wait_for_log(" serves after ")
      g:write("tls/other.pem", FILES["third.pem"])
      g:write("tls/other.key", FILES["third.key"])
      g:write("bad.lua", BAD)
      g:write("gateway.lua", try.config)
      assert.equal(try.code, (admin.run(g, unpack(try.order))))
      replace("tls/main.pem", FILES["new.pem"])
      replace("tls/main.key", FILES["new.key"])
      g:wait_for_log("new certificates are in force (revision 2)")
      assert.equal("new.test", subject())
    end)
  end

  it("may be links whose target changes", function()
    os.execute(("cd '%s/tls' && mkdir one two && mv main.* one/ && ln -s one now && "
      .. "ln -s now/main.pem main.pem && ln -s now/main.key main.key"):format(g.dir))
    g:write("tls/two/main.pem", FILES["new.pem"])
    g:write("tls/two/main.key", FILES["new.key"])
    os.execute(("cd '%s/tls' && ln -s two next && mv -T next now"):format(g.dir))
    g:wait_for_log("new certificates are in force (revision ")
    assert.equal("new.test", subject())
  end)
end)
