-- Durations and sizes: what is read, what is refused, what is written.

local units = require "tidegate.units"

describe("durations", function()
  for text, seconds in pairs { ["20ms"] = 0.02, ["1s"] = 1, ["1.5s"] = 1.5, ["5m"] = 300, ["1h30m"] = 5400,
                               ["1d"] = 86400, ["250us"] = 0.00025, ["0s"] = 0 } do
    it("reads " .. text, function()
      assert.is_true(math.abs(units.parse_duration(text) - seconds) < 1e-12)
    end)
  end

  for _, text in ipairs { "", "5", "s", "5 s", "5x", "-1s", "1s2", "1e3s", "5S", "1..5s",
    "99999999999999999d" } do
    it(("refuses %q"):format(text), function() assert.is_nil(units.parse_duration(text)) end)
  end

  for seconds, text in pairs { [0] = "0s", [0.02] = "20ms", [1] = "1s", [90] = "90s", [300] = "5m",
                               [86400] = "1d", [0.00025] = "250us", [1.5] = "1500ms" } do
    it("writes " .. text, function() assert.equal(text, units.format_duration(seconds)) end)
  end

  it("are written so that another one is not read", function()
    for text, written in pairs { ["24h50ms"] = "86400050ms", ["365d30s"] = "31536030s", ["1.5us"] = "1.5us",
                                 ["1d1us"] = "86400000001us" } do
      assert.equal(written, units.format_duration(units.parse_duration(text)))
      assert.equal(units.parse_duration(text), units.parse_duration(written))
    end
  end)
end)

describe("sizes", function()
  for text, bytes in pairs { ["512B"] = 512, ["32KiB"] = 32768, ["1.5KiB"] = 1536, ["1GiB"] = 2 ^ 30 } do
    it("reads " .. text, function() assert.equal(bytes, units.parse_bytes(text)) end)
  end

  for _, text in ipairs { "", "10", "10MB", "10mib", "1.3B", "-1B", "1 KiB", "99999TiB" } do
    it(("refuses %q"):format(text), function() assert.is_nil(units.parse_bytes(text)) end)
  end

  for bytes, text in pairs { [0] = "0B", [1000] = "1000B", [1024] = "1KiB", [2 ^ 20] = "1MiB",
    [1536] = "1536B" } do
    it("writes " .. text, function() assert.equal(text, units.format_bytes(bytes)) end)
  end
end)
