-- Who listens where: listeners in each other's way, and in that of the admin listener.

local host = require "support.config_host"

-- What is wrong with listeners at these addresses, and an admin listener at `admin`.
local function complaint(listeners, admin)
  local lines = { 'local tg = require "tidegate"', 'tg.service "e" { builtin = "echo" }',
                  'tg.route "r" { service = "e" }' }
  for i, address in ipairs(listeners) do
    lines[#lines + 1] = ('tg.listener "l%d" { address = %q }'):format(i, address)
  end
  if admin then lines[#lines + 1] = ("tg.settings { admin = { listen = %q } }"):format(admin) end
  local tree, reports = host.load(table.concat(lines, "\n"), {})
  return tree and "" or reports:render()
end

describe("listeners", function()
  for _, case in ipairs {
    { "one address twice", { "127.0.0.1:80", "127.0.0.1:80" }, nil,
      'gateway.lua:5:20: listeners.l2.address: listener "l1" has the address 127.0.0.1:80 already; ' ..
      'give one of the two another', 'listener "l1" is declared at gateway.lua:4' },
    { "one address in two spellings", { "[::1]:80", "[0:0::1]:80" }, nil,
      'listener "l1" has the address [::1]:80 already' },
    { "one of every address", { "0.0.0.0:80", "127.0.0.1:80" }, nil,
      'gateway.lua:5:20: listeners.l2.address: listener "l1", at 0.0.0.0:80, has port 80 of every IPv4 ' ..
      'address already, 127.0.0.1:80 included; give one of the two another port' },
    { "every address after one", { "127.0.0.1:81", "127.0.0.2:80", "0.0.0.0:80" }, nil,
      'gateway.lua:6:20: listeners.l3.address: 0.0.0.0:80 takes port 80 of every IPv4 address, ' ..
      '127.0.0.2:80 of listener "l2" included; give one of the two another port' },
    { "every address of IPv6", { "[::]:80", "[fd00::1]:80" }, nil,
      'listener "l1", at [::]:80, has port 80 of every IPv6 address already, [fd00::1]:80 included' },
    { "one path twice", { "unix:run/a", "unix:run/a" }, nil,
      'listener "l1" has the address unix:run/a already' },
    { "the admin listener's port", { "127.0.0.1:80" }, "127.0.0.1:80",
      "gateway.lua:4:20: listeners.l1.address: settings.admin has the address 127.0.0.1:80 already" },
    { "the admin listener's port, as every address", { "0.0.0.0:80" }, "127.0.0.1:80",
      "0.0.0.0:80 takes port 80 of every IPv4 address, 127.0.0.1:80 of settings.admin included",
      "settings.admin is declared at gateway.lua:5" },
    { "an address that the admin listener's includes", { "127.0.0.1:80" }, "0.0.0.0:80",
      "settings.admin, at 0.0.0.0:80, has port 80 of every IPv4 address already, 127.0.0.1:80 included" },
    { "the admin listener's path", { "unix:run/a" }, "unix:run/a",
      "settings.admin has the address unix:run/a" },
  } do
    it("are refused: " .. case[1], function()
      local text = complaint(case[2], case[3])
      assert.contains(case[4], text)
      assert.contains(case[5] or "", text)
    end)
  end

  it("may share a port on addresses of their own, one of another kind, or what the system chooses", function()
    assert.equal("", complaint { "127.0.0.1:80", "127.0.0.2:80", "[::]:80", "0.0.0.0:81", "127.0.0.1:0",
                                 "127.0.0.1:0", "0.0.0.0:0", "unix:a", "unix:b" })
    assert.equal("", complaint({ "127.0.0.1:80", "unix:a" }, "unix:admin"))
  end)
end)
