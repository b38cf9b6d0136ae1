package app

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// TuneRuntime sets the garbage collector for a process that serves: it
// collects at half growth instead of double, because most memory belongs to
// sessions that live long, and works harder when 70 % of what the machine or
// the cgroup has is in use. What the operator set in GOGC or GOMEMLIMIT
// stays. It is for the process, so cmd calls it, once.
func TuneRuntime() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		if total := availableMemory(); total > 0 {
			debug.SetMemoryLimit(total / 10 * 7)
		}
	}
}

// availableMemory is the memory of the cgroup (version 2) or of the machine,
// in octets, or zero when neither can be read.
func availableMemory() int64 {
	total := machineMemory()
	limit, err := cgroupLimit()
	if err == nil && limit < total {
		return limit
	}
	return total
}

func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}

func cgroupLimit() (int64, error) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, err
	}
	_, path, ok := bytes.Cut(bytes.TrimSpace(self), []byte("0::"))
	if !ok {
		return 0, fmt.Errorf("no unified cgroup")
	}
	text, err := os.ReadFile("/sys/fs/cgroup" + string(path) + "/memory.max")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64) // "max" is an error, meaning none
}
