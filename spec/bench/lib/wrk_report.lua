-- Loaded by wrk: prints its counts on one line that load.lua reads.
-- luacheck: globals done

function done(summary, _, _)
  local errors = summary.errors
  print(("counts requests=%d bytes=%d duration_us=%d connect=%d read=%d write=%d status=%d timeout=%d")
    :format(summary.requests, summary.bytes, summary.duration, errors.connect, errors.read,
      errors.write, errors.status, errors.timeout))
end
