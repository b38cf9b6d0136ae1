package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Environment says on what a run was made.
type Environment struct {
	CPU        string  `json:"cpu"`
	Processors int     `json:"processors"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Version    string  `json:"version"`          // of the measured program
	FileSystem string  `json:"file_system"`      // of the data directories
	Journal    string  `json:"journal"`          // "yes", "no", "unknown"
	Flush      float64 `json:"fdatasync_p50_ms"` // of 4 KiB in a file written before
}

func lookAround(o options) (Environment, error) {
	e := Environment{Processors: runtime.NumCPU(), Go: runtime.Version(), CPU: cpuModel()}
	// This process is bound to one processor; the machine has more.
	if online, err := os.ReadFile("/sys/devices/system/cpu/online"); err == nil {
		e.Processors = countRanges(strings.TrimSpace(string(online)))
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		e.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	e.Version = versionOf(o.barid)
	dir := o.dir
	if dir == "" {
		dir = os.TempDir()
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return e, fmt.Errorf("mounts: %w", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return e, err
	}
	var device string
	e.FileSystem, device = mountOf(string(mounts), abs)
	e.Journal = journalOf(e.FileSystem, device)
	flush, err := flushTime(dir)
	e.Flush = ms(flush)
	return e, err
}

// countRanges counts a list such as "0-3,8".
func countRanges(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		var from, to int
		switch c, _ := fmt.Sscanf(part, "%d-%d", &from, &to); c {
		case 2:
			n += to - from + 1
		case 1:
			n++
		}
	}
	return n
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// mountOf finds the file system and the device of a path in mountinfo
// (proc_pid_mountinfo(5)).
func mountOf(mountinfo, path string) (kind, device string) {
	longest := -1
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 2 {
			continue
		}
		at := l[4]
		inside := path == at || strings.HasPrefix(path, strings.TrimSuffix(at, "/")+"/")
		if inside && len(at) >= longest { // a later mount lies over an earlier one
			longest, kind, device = len(at), r[0], r[1]
		}
	}
	return kind, device
}

// journalOf tells whether a file system has a journal. Without one ext4
// flushes sooner than any operator's disk.
func journalOf(kind, device string) string {
	switch kind {
	case "xfs":
		return "yes"
	case "ext3", "ext4":
		if target, err := filepath.EvalSymlinks(device); err == nil {
			device = target
		}
		found, err := filepath.Glob("/proc/fs/jbd2/" + filepath.Base(device) + "-*")
		if err == nil && len(found) > 0 {
			return "yes"
		}
		if _, err := os.Stat("/proc/fs/" + kind + "/" + filepath.Base(device)); err == nil {
			return "no"
		}
	}
	return "unknown"
}

// flushTime measures the median fdatasync of 4 KiB in a file that was written
// before.
func flushTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "barid-bench-flush-")
	if err != nil {
		return 0, fmt.Errorf("flush latency: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const size, block, rounds = 1 << 20, 4 << 10, 200
	if _, err := f.Write(make([]byte, size)); err != nil {
		return 0, fmt.Errorf("flush latency: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("flush latency: %w", err)
	}
	var took []time.Duration
	content := make([]byte, block)
	for i := range rounds {
		content[0]++
		if _, err := f.WriteAt(content, int64(i*block%size)); err != nil {
			return 0, fmt.Errorf("flush latency: %w", err)
		}
		began := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("flush latency: %w", err)
		}
		took = append(took, time.Since(began))
	}
	return quantile(took, 0.5), nil
}

// raiseFileLimit makes room for that many open files.
func raiseFileLimit(files int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	want := uint64(files)
	if limit.Cur >= want {
		return nil
	}
	limit.Cur = want
	if limit.Max < want {
		limit.Max = want // root may
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files are needed: %w", want, err)
	}
	return nil
}
