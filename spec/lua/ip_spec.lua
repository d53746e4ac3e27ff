-- Addresses and networks: what is read, what is refused, and the one spelling that comes out.

local ip = require "tidegate.ip"

local function canonical(text)
  local bytes = ip.parse(text)
  return bytes and ip.format(bytes)
end

describe("addresses", function()
  -- Spellings of RFC 5952 section 4, and the plain cases.
  for text, expected in pairs {
    ["10.0.0.1"] = "10.0.0.1", ["255.255.255.255"] = "255.255.255.255", ["::"] = "::", ["::1"] = "::1",
    ["2001:DB8::0001"] = "2001:db8::1", ["2001:db8:0:0:1:0:0:1"] = "2001:db8::1:0:0:1",
    ["2001:db8:0:1:1:1:1:1"] = "2001:db8:0:1:1:1:1:1", ["fe80::"] = "fe80::", ["1:0:0:0:0:0:0:0"] = "1::",
    ["::ffff:10.0.0.1"] = "::ffff:a00:1", ["1:2:3:4:5:6:7::"] = "1:2:3:4:5:6:7:0",
  } do
    it("writes " .. text .. " as " .. expected, function() assert.equal(expected, canonical(text)) end)
  end

  for _, text in ipairs { "", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1.2", "1:2:3", ":::", "1::2::3",
                          "12345::", "::g", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "::10.0.0.300", ":1" } do
    it(("refuses %q"):format(text), function() assert.is_nil(ip.parse(text)) end)
  end
end)

describe("networks", function()
  for text, expected in pairs {
    ["10.1.2.3/8"] = "10.0.0.0/8", ["10.1.2.3"] = "10.1.2.3/32", ["10.1.2.255/25"] = "10.1.2.128/25",
    ["0.0.0.0/0"] = "0.0.0.0/0", ["fd00:1234::1/8"] = "fd00::/8", ["::1"] = "::1/128",
  } do
    it("writes " .. text .. " as " .. expected, function() assert.equal(expected,
      ip.canonical_cidr(text)) end)
  end

  for _, text in ipairs { "10.0.0.0/33", "10.0.0.0/08", "::/129", "10.0.0.0/", "/8", "ten/8" } do
    it(("refuses %q"):format(text), function() assert.is_nil(ip.canonical_cidr(text)) end)
  end
end)

describe("endpoints", function()
  it("splits host and port", function()
    assert.same({ "10.0.0.1", 80 }, { ip.split_endpoint "10.0.0.1:80" })
    assert.same({ "::1", 8080 }, { ip.split_endpoint "[::1]:8080" })
    assert.same({ "example.test", 0 }, { ip.split_endpoint "example.test:0" })
  end)

  for _, text in ipairs { "10.0.0.1", "::1:80", "10.0.0.1:65536", "10.0.0.1:", ":80", "[::1]80",
    "a:000080" } do
    it(("refuses %q"):format(text), function() assert.is_nil(ip.split_endpoint(text)) end)
  end
end)
