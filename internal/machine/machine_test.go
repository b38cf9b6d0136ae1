package machine

import (
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/metrics"
)

// values are what a machine has.
type values struct {
	load                         float64
	memory                       int64
	octets, inodes               uint64
	loadErr, memoryErr, diskErr  error
	loads, memories, disksLooked int
}

const gibi = 1 << 30

// roomy is a machine with much of everything.
func roomy() *values { return &values{load: 0.1, memory: 8 * gibi, octets: 100 * gibi, inodes: 1e6} }

func (v *values) watch(l Limits, log *strings.Builder) *Watch {
	cfg := Config{
		Limits: l,
		Load:   func() (float64, error) { v.loads++; return v.load, v.loadErr },
		Memory: func() (int64, error) { v.memories++; return v.memory, v.memoryErr },
		Disk:   func() (uint64, uint64, error) { v.disksLooked++; return v.octets, v.inodes, v.diskErr },
	}
	if log != nil {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	return New(cfg)
}

var usual = Limits{MaxLoad: 5, MinMemory: 200 << 20, MinDisk: gibi, MinInodes: 20000}

func why(w *Watch) string {
	if err := w.Admit(); err != nil {
		return err.Error()
	}
	return ""
}

// A roomy machine passes, and each limit out of reach refuses in its words;
// the first of several is named.
func TestEachLimitRefuses(t *testing.T) {
	const huge = 99999999 * gibi
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{usual, ""},
		{Limits{}, ""},
		{Limits{MaxLoad: -1}, "load avg 0.10 > -1.00"},
		{Limits{MinMemory: huge}, "available memory 8192MB < 102399998976MB"},
		{Limits{MinDisk: huge}, "free disk 102400MB < 102399998976MB"},
		{Limits{MinInodes: 1e6 + 1}, "free inodes 1000000 < 1000001"},
		{Limits{MaxLoad: -1, MinMemory: huge, MinDisk: huge}, "load avg 0.10 > -1.00"},
		{Limits{MinMemory: huge, MinDisk: huge}, "available memory 8192MB < 102399998976MB"},
	} {
		if got := why(roomy().watch(c.limits, nil)); got != c.want {
			t.Errorf("%+v: %q, want %q", c.limits, got, c.want)
		}
	}
}

// At the limit itself nobody is refused.
func TestTheLimitItselfIsAllowed(t *testing.T) {
	v := &values{load: 5, memory: usual.MinMemory, octets: uint64(usual.MinDisk), inodes: uint64(usual.MinInodes)}
	if got := why(v.watch(usual, nil)); got != "" {
		t.Error(got)
	}
}

// What cannot be read is passed over with a warning, and the other limits
// hold.
func TestUnreadableValuesArePassedOver(t *testing.T) {
	broken := errors.New("no such thing")
	log := &strings.Builder{}
	v := roomy()
	v.diskErr, v.octets, v.inodes = broken, 0, 0
	if got := why(v.watch(usual, log)); got != "" || !strings.Contains(log.String(), `msg="ignoring unreadable system limit" part=machine limit=disk`) {
		t.Errorf("%q\n%s", got, log)
	}
	v = roomy()
	v.loadErr, v.memoryErr, v.octets = broken, broken, gibi-1
	if got := why(v.watch(usual, nil)); got != "free disk 1024MB < 1024MB" {
		t.Errorf("%q", got)
	}
	r := v.watch(usual, nil).Readings()
	if !errors.Is(r[0].Err, broken) || r[0].Refusing || r[0].Value != 0 {
		t.Errorf("%+v", r[0])
	}
	log.Reset()
	v.watch(Limits{MinDisk: 1}, log).Admit()
	if log.Len() != 0 {
		t.Errorf("told of a value that has no limit:\n%s", log)
	}
}

// A refusal begins at the limit and ends only well past it.
func TestARefusalDoesNotComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, log := roomy(), &strings.Builder{}
		w := v.watch(usual, log)
		for i, step := range []struct {
			load   float64
			octets uint64
			want   string
		}{
			{4.9, gibi, ""},
			{5.1, gibi, "load avg 5.10 > 5.00"},
			{4.9, gibi, "load avg 4.90 > 4.50"},
			{4.5, gibi, ""},
			{4.9, gibi, ""},
			{1, gibi - 1<<20, "free disk 1023MB < 1024MB"},
			{1, gibi + 1<<20, "free disk 1025MB < 1126MB"},
			{1, 2 * gibi, ""},
			{1, gibi + 1<<20, ""},
		} {
			v.load, v.octets = step.load, step.octets
			time.Sleep(freshFor)
			if got := why(w); got != step.want {
				t.Errorf("step %d: %q, want %q", i, got, step.want)
			}
		}
		if begun, over := strings.Count(log.String(), "no new accounts"), strings.Count(log.String(), "has room for new accounts again"); begun != 2 || over != 2 {
			t.Errorf("told %d times and %d times\n%s", begun, over, log)
		}
	})
}

// However many ask, the values are read once a second.
func TestValuesAreReadOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := roomy()
		w := v.watch(usual, nil)
		for range 10 {
			for range 1000 {
				w.Admit()
				w.Readings()
			}
			time.Sleep(freshFor / 2)
		}
		if v.loads != 5 || v.memories != 5 || v.disksLooked != 5 {
			t.Errorf("read %d, %d and %d times", v.loads, v.memories, v.disksLooked)
		}
	})
}

// The metrics have each value beside its limit.
func TestMetricsHaveValueAndLimit(t *testing.T) {
	r, v := metrics.New(), roomy()
	v.load = 6
	New(Config{Limits: usual, Load: func() (float64, error) { return v.load, nil }, Memory: func() (int64, error) { return v.memory, nil },
		Disk: func() (uint64, uint64, error) { return v.octets, v.inodes, nil }, Metrics: r})
	got, err := r.Values()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"machine_load_1m": 6, "machine_load_1m_limit": 5, "machine_free_inodes": 1e6, "machine_free_disk_bytes_limit": gibi, "machine_refuses": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// This machine can be read.
func TestTheKernelTells(t *testing.T) {
	if v, err := load(); err != nil || v < 0 {
		t.Errorf("load %v, %v", v, err)
	}
	if v, err := memory(); err != nil || v <= 0 {
		t.Errorf("memory %v, %v", v, err)
	}
}

func TestParseLoad(t *testing.T) {
	for text, want := range map[string]float64{"0.52 0.58 0.59 1/389 12345\n": 0.52, "": -1, "x 1 1": -1, "-1 0 0": -1, "NaN 1 1": -1, "1": -1} {
		v, err := parseLoad([]byte(text))
		if (err != nil) != (want == -1) || err == nil && v != want {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal: 1000 kB\nMemAvailable:    512 kB\n": 512 << 10, "MemTotal: 1 kB\n": -1, "MemAvailable:\n": -1, "MemAvailable: -5 kB": -1,
		"MemAvailable: 9223372036854775807 kB": -1,
	} {
		v, err := parseMemory([]byte(text))
		if (err != nil) != (want == -1) || err == nil && v != want {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
}

// The tightest cgroup on the way to the root counts, and its cache is free.
func TestCgroupMemory(t *testing.T) {
	files := map[string]string{
		"/proc/self/cgroup":                           "0::/a.slice/b.service\n",
		"/sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
		"/sys/fs/cgroup/a.slice/memory.max":           "1000\n",
		"/sys/fs/cgroup/a.slice/memory.current":       "900\n",
		"/sys/fs/cgroup/a.slice/memory.stat":          "anon 100\ninactive_file 300\n",
	}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	left, bounded, err := cgroupMemory(read)
	if left != 400 || !bounded || err != nil {
		t.Errorf("%d, %v, %v", left, bounded, err)
	}
	files["/sys/fs/cgroup/a.slice/memory.current"] = "2000"
	if left, _, _ := cgroupMemory(read); left != 0 {
		t.Errorf("over its bound: %d", left)
	}
	files["/sys/fs/cgroup/a.slice/memory.current"] = "much"
	if _, _, err := cgroupMemory(read); err == nil {
		t.Error("read what is no number")
	}
	for _, self := range []string{"", "1:name=systemd:/\n", "0::/../..\n"} {
		files["/proc/self/cgroup"] = self
		if left, bounded, err := cgroupMemory(read); bounded || err != nil {
			t.Errorf("%q: %d, %v, %v", self, left, bounded, err)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add([]byte("0.52 0.58 0.59 1/389 12345\n"))
	f.Add([]byte("MemTotal: 1000 kB\nMemAvailable:    512 kB\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if v, err := parseLoad(text); err == nil && !(v >= 0 && !math.IsNaN(v)) {
			t.Errorf("load %v", v)
		}
		if v, err := parseMemory(text); err == nil && v < 0 {
			t.Errorf("memory %d", v)
		}
		cgroupMemory(func(string) ([]byte, error) { return text, nil })
	})
}
