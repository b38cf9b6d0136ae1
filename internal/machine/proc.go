package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// maxProc bounds what is read of a file of the kernel.
const maxProc = 64 << 10

func readProc(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProc))
}

// load reads the load of the last minute (proc_loadavg(5)).
func load() (float64, error) {
	text, err := readProc("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	return parseLoad(text)
}

func parseLoad(text []byte) (float64, error) {
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return 0, errors.New("/proc/loadavg has no load")
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	if err != nil || !(v >= 0) {
		return 0, fmt.Errorf("/proc/loadavg has no load: %.20q", fields[0])
	}
	return v, nil
}

// memory gives what is available on the machine, or what the cgroup may still
// have, whichever is less.
func memory() (int64, error) {
	text, err := readProc("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	available, err := parseMemory(text)
	if err != nil {
		return 0, err
	}
	left, bounded, err := cgroupMemory(readProc)
	if err != nil {
		return 0, err
	}
	if bounded {
		available = min(available, left)
	}
	return available, nil
}

// parseMemory finds MemAvailable (proc_meminfo(5)).
func parseMemory(text []byte) (int64, error) {
	v, ok := valueOf(text, "MemAvailable:")
	if !ok || v > 1<<50 {
		return 0, errors.New("/proc/meminfo has no MemAvailable")
	}
	return v << 10, nil
}

// valueOf finds the number behind a name at the beginning of a line.
func valueOf(text []byte, name string) (int64, bool) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			return 0, false
		}
		v, err := strconv.ParseInt(string(fields[0]), 10, 64)
		return v, err == nil && v >= 0
	}
	return 0, false
}

// cgroupMemory gives what the cgroup of this process, or one above it, may
// still take (cgroup v2, memory.max): the cache of files counts as free.
// Without such a bound it is not bounded, which is no error.
func cgroupMemory(read func(string) ([]byte, error)) (left int64, bounded bool, err error) {
	self, err := read("/proc/self/cgroup")
	if err != nil {
		return 0, false, nil // a kernel without cgroups
	}
	_, group, ok := bytes.Cut(self, []byte("0::"))
	if !ok {
		return 0, false, nil
	}
	group, _, _ = bytes.Cut(group, []byte("\n"))
	for dir := path.Clean("/" + string(group)); ; dir = path.Dir(dir) {
		here, ok, err := cgroupLeft(read, "/sys/fs/cgroup"+strings.TrimSuffix(dir, "/"))
		if err != nil {
			return 0, false, err
		}
		if ok && (!bounded || here < left) {
			left, bounded = here, true
		}
		if dir == "/" {
			return left, bounded, nil
		}
	}
}

func cgroupLeft(read func(string) ([]byte, error), dir string) (int64, bool, error) {
	text, err := read(dir + "/memory.max")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil // the root has none
	}
	if err != nil {
		return 0, false, err
	}
	most, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, false, nil // "max"
	}
	text, err = read(dir + "/memory.current")
	if err != nil {
		return 0, false, err
	}
	used, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("%s/memory.current: %w", dir, err)
	}
	if stat, err := read(dir + "/memory.stat"); err == nil {
		if cache, ok := valueOf(stat, "inactive_file "); ok {
			used -= cache
		}
	}
	return max(most-used, 0), true, nil
}
