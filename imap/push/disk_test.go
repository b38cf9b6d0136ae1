package push

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"barid/internal/journal/faultfs"
)

// What waits, and how often it was tried, survives the end of the process
// by SIGKILL a tenth of a second after; one that was done does not come back.
func TestWhatWaitsSurvivesAKill(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "one")
		r.store.set("bob@relay.test", time.Now(), "two")
		r.gateway.say(always(500, nil))
		r.mail("alice@relay.test")
		pass(100 * time.Second) // three tries
		r.mail("bob@relay.test")
		pass(200 * time.Millisecond)
		r.kill()
		pass(time.Minute) // the machine is slow
		r.gateway.say(nil)
		before := len(r.gateway.requests())
		r.open()
		pass(10 * time.Second)
		if all := r.gateway.requests(); len(all) != before+1 || all[before].token != "two" {
			t.Errorf("%d requests before, then %v", before, all[before:])
		}
		pass(10 * time.Minute)
		if all := r.gateway.requests(); len(all) != before+2 || all[before+1].token != "one" {
			t.Errorf("%d requests before, then %v", before, all[before:])
		}
		if st := r.Status(); len(st.Platforms) != 1 || st.Platforms[0].Tokens != 2 {
			t.Errorf("status %+v", st)
		}
		pass(time.Second)
		r.kill()
		r.open()
		pass(6 * time.Hour)
		if n := len(r.gateway.requests()); n != before+2 {
			t.Errorf("%d requests after all was done", n-before)
		}
	})
}

// What is answered quickly is never written.
func TestWhatIsDoneAtOnceIsNotWritten(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		before := r.disk.Count(faultfs.Write)
		for i := range 100 {
			name := fmt.Sprintf("a%d@relay.test", i)
			r.store.set(name, time.Now(), name)
			r.mail(name)
			pass(time.Second)
		}
		if n := r.disk.Count(faultfs.Write) - before; n != 0 || r.value("push_sent") != 100 {
			t.Errorf("%d writes for %d sent", n, r.value("push_sent"))
		}
	})
}

// A power cut leaves a queue that can be read, with all that waited for some
// seconds.
func TestAPowerCutCostsSecondsOnly(t *testing.T) {
	for seed := range int64(20) {
		bubble(t, nil, func(t *testing.T, r *rig) {
			r.gateway.say(always(0, errDown))
			for i := range 100 {
				name := fmt.Sprintf("a%d@relay.test", i)
				r.store.set(name, time.Now(), name)
				r.mail(name)
			}
			pass(12 * time.Second)
			r.store.set("late@relay.test", time.Now(), "late")
			r.mail("late@relay.test")
			pass(200 * time.Millisecond)
			r.kill()
			r.disk = r.disk.Cut(rand.New(rand.NewSource(seed)))
			r.open()
			if n := r.value("push_queue_use"); n < 100 {
				t.Errorf("seed %d: %d of 101 are left", seed, n)
			}
		})
	}
}

// The bound holds in memory and on disk; the oldest goes, and is counted.
func TestTheOldestGoesWhenTooManyWait(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"entries": func(c *Config) { c.MaxWaiting = 50 },
		"octets":  func(c *Config) { c.MaxOctets = 50 * lineSize(key{account: address("a100@relay.test")}) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, change, func(t *testing.T, r *rig) {
				r.gateway.say(always(0, errDown))
				for round := range 200 {
					for i := range 100 {
						name := fmt.Sprintf("a%d@relay.test", 100+i)
						r.store.set(name, time.Now(), name)
						r.mail(name)
						pass(time.Millisecond)
					}
					pass(time.Second)
					if n := r.value("push_queue_use"); n != 50 {
						t.Fatalf("round %d: %d wait", round, n)
					}
				}
				if n := r.value("push_discarded"); n < 10_000-50 || len(r.Findings()) != 1 {
					t.Errorf("%d discarded, findings %v", n, r.Findings())
				}
				if r.file.octets > 50*200*2+spare {
					t.Errorf("the file has %d octets", r.file.octets)
				}
				r.kill()
				r.open()
				r.gateway.say(nil)
				before := len(r.gateway.requests())
				pass(2 * time.Hour)
				after := r.gateway.requests()[before:]
				if len(after) != 50 {
					t.Errorf("%d requests after the restart", len(after))
				}
				for _, q := range after {
					if q.token < "a150" {
						t.Errorf("%s is older than what went", q.token)
					}
				}
			})
		})
	}
}

// A damaged queue costs what is damaged, and a line in the log.
func TestADamagedQueueKeepsTheRest(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.say(always(0, errDown))
		for i := range 20 {
			name := fmt.Sprintf("a%d@relay.test", i)
			r.store.set(name, time.Now(), name)
			r.mail(name)
		}
		pass(time.Second)
		r.kill()
		text := r.read()
		lines := strings.SplitAfter(text, "\n")
		lines[3] = strings.Replace(lines[3], "@", "%", 1)
		lines[5] = strings.Repeat("x", 100_000) + "\n"
		lines[7] = "\x00\xff\n\n"
		lines[9] = "tmp"
		r.overwrite(strings.Join(lines, "") + "1234")
		r.open()
		if n := r.value("push_queue_use"); n < 15 || n > 17 {
			t.Errorf("%d wait", n)
		}
		if !strings.Contains(r.log.String(), "corrupt") {
			t.Errorf("not logged: %s", r.log)
		}
		r.gateway.say(nil)
		pass(time.Hour)
		if n := r.value("push_sent"); n < 15 || n > 17 {
			t.Errorf("%d sent", n)
		}
		for _, nonsense := range []string{"", "\n", strings.Repeat("\x00", 1<<20), strings.Repeat("y", 1<<20)} {
			r.kill()
			r.overwrite(nonsense)
			r.open()
			if n := r.value("push_queue_use"); n != 0 {
				t.Errorf("%d wait", n)
			}
		}
	})
}

func (r *rig) read() string {
	r.t.Helper()
	f, err := r.disk.OpenFile(fileName, os.O_RDONLY)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

func (r *rig) overwrite(text string) {
	r.t.Helper()
	f, err := r.disk.OpenFile(fileName, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

// The queue has no token, only what finds it again.
func TestTheQueueHasNoToken(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.say(always(0, errDown))
		r.store.set("alice@relay.test", time.Now(), "openpgp:secret")
		r.mail("alice@relay.test")
		pass(time.Second)
		if text := r.read(); strings.Contains(text, "secret") || !strings.Contains(text, "alice@relay.test") {
			t.Error(text)
		}
	})
}

// A disk that is full stops nothing; what waits is written when it is not.
func TestAFullDiskStopsNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		for n := range 40 {
			r.disk.FailAt(r.disk.Ops()+1+n, syscall.ENOSPC)
		}
		r.gateway.say(always(500, nil))
		r.store.set("alice@relay.test", time.Now(), "one")
		r.mail("alice@relay.test")
		pass(time.Minute)
		if !strings.Contains(r.log.String(), "in memory only") || len(r.gateway.requests()) != 2 {
			t.Errorf("%d requests; %s", len(r.gateway.requests()), r.log)
		}
		pass(30 * time.Minute)
		r.kill()
		r.open()
		if n := r.value("push_queue_use"); n != 1 {
			t.Errorf("%d wait", n)
		}
		r.gateway.say(nil)
		pass(2 * time.Hour)
		if n := r.value("push_sent"); n != 1 {
			t.Errorf("%d sent", n)
		}
	})
}

// What a clean stop finds on its way or not yet written is not lost.
func TestACleanStopKeepsWhatIsOnItsWay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.took = 30 * time.Second
		r.store.set("alice@relay.test", time.Now(), "one", "two")
		r.mail("alice@relay.test")
		pass(10 * time.Millisecond)
		began := time.Now()
		r.mail("bob@relay.test")
		r.store.set("bob@relay.test", time.Now(), "three")
		r.close()
		if d := time.Since(began); d > grace {
			t.Errorf("the stop took %v", d)
		}
		r.gateway.took = 0
		before := len(r.gateway.requests())
		r.open()
		pass(time.Minute)
		if n := len(r.gateway.requests()) - before; n != 3 {
			t.Errorf("%d requests after it", n)
		}
	})
}

// A line comes back as it was, and nothing else passes for one.
func FuzzParseLine(f *testing.F) {
	it := &item{key: key{address("alice@relay.test"), digestOf("x")}, queued: 1_790_000_000_000, due: 1_790_000_008_000, attempts: 1}
	f.Add(string(bytes.TrimSuffix(appendWaiting(nil, it), []byte("\n"))))
	f.Add(string(bytes.TrimSuffix(appendGone(nil, it.key), []byte("\n"))))
	f.Add("00000000 ")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parseLine(line)
		if err != nil {
			// With the right sum it may be one after all.
			if _, text, ok := strings.Cut(line, " "); ok {
				line = strings.TrimSuffix(string(appendLine(nil, text)), "\n")
				c, err = parseLine(line)
			}
		}
		if err != nil {
			return
		}
		again := appendGone(nil, c.key)
		if !c.gone {
			again = appendWaiting(nil, &item{key: c.key, queued: c.queued, due: c.due, attempts: c.attempts})
		}
		back, err := parseLine(strings.TrimSuffix(string(again), "\n"))
		if err != nil || back != c {
			t.Errorf("%q: %+v, then %+v %v", line, c, back, err)
		}
	})
}

// Whatever the file has, reading it ends, within its bounds.
func FuzzReadChanges(f *testing.F) {
	var b []byte
	for i := range 5 {
		it := &item{key: key{address("alice@relay.test"), digestOf(fmt.Sprint(i % 3))}, queued: int64(i)}
		b = appendWaiting(b, it)
		b = appendGone(b, key{address("bob@relay.test"), it.token})
	}
	f.Add(b)
	f.Add([]byte(strings.Repeat("x", 2000) + "\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		waiting, bad, err := readChanges(bytes.NewReader(text), 2)
		if err != nil || len(waiting) > 2 || bad > len(text) {
			t.Errorf("%d wait, %d bad, %v", len(waiting), bad, err)
		}
	})
}
