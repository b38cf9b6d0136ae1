package push

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"barid/internal/journal"
)

// badFS fails to open files with any of flags, and to read on after octets.
type badFS struct {
	journal.FS
	flags  *atomic.Int64
	octets int64
}

func (f badFS) OpenFile(name string, flag int) (journal.File, error) {
	bad := int(f.flags.Load())
	if flag&bad != 0 || flag == os.O_RDONLY && bad == os.O_RDONLY && f.octets == 0 {
		return nil, syscall.EROFS
	}
	in, err := f.FS.OpenFile(name, flag)
	if err == nil && flag == os.O_RDONLY && bad == os.O_RDONLY {
		return badFile{in, &io.LimitedReader{R: in, N: f.octets}}, nil
	}
	return in, err
}

// allWell has no flag.
const allWell = 1 << 40

type badFile struct {
	journal.File
	some *io.LimitedReader
}

func (f badFile) Read(p []byte) (int, error) {
	n, err := f.some.Read(p)
	if err == io.EOF {
		err = syscall.EIO
	}
	return n, err
}

// A file that cannot be opened, read or made is no reason not to begin. What
// was read is kept; what waits is in memory meanwhile, takes no more of it as
// time goes by, and is written as soon as that works.
func TestAnUnreadableQueueStopsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		flags, kept int
		octets      int64
	}{
		"not opened":   {os.O_RDONLY, 0, 0},
		"half of it":   {os.O_RDONLY, 1, lineSize(key{account: address("old0@relay.test")}) * 3 / 2},
		"not made":     {os.O_CREATE, 2, 0},
		"not anything": {os.O_CREATE | os.O_RDWR, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.gateway.say(always(0, errDown))
				var flags atomic.Int64
				flags.Store(int64(c.flags))
				add := func(what string, n int) {
					for i := range n {
						name := fmt.Sprintf("%s%d@relay.test", what, i)
						r.store.set(name, time.Now(), name)
						r.mail(name)
						pass(150 * time.Millisecond)
					}
				}
				add("old", 2)
				r.kill()
				r.change = func(cfg *Config) { cfg.FS = badFS{cfg.FS, &flags, c.octets} }
				r.open()
				if n := r.value("push_queue_use"); n != c.kept {
					t.Errorf("%d are left", n)
				}
				add("new", 300)
				r.mu.Lock()
				if n := len(r.queue.dirty); n > 5 {
					t.Errorf("%d changes pile up", n)
				}
				r.mu.Unlock()
				if !strings.Contains(r.log.String(), "level=ERROR") && !strings.Contains(r.log.String(), "in memory only") {
					t.Errorf("not logged: %s", r.log)
				}
				flags.Store(allWell) // all is well again
				pass(2 * brokenPause)
				r.kill()
				r.open()
				if n := r.value("push_queue_use"); n != 300+c.kept {
					t.Errorf("%d are left after all", n)
				}
			})
		})
	}
}
