package expiry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"
)

// fake is a store that notes when it was asked, and does what the test says.
type fake struct {
	mu     sync.Mutex // guards the fields below
	runs   []time.Time
	policy storage.ExpiryPolicy // of the last run
	checks int
	clock  error // what each call fails with
	fails  error // what each run fails with, after a report
	blocks bool  // a run ends with its context
}

func (f *fake) Expire(ctx context.Context, p storage.ExpiryPolicy, report func(storage.Expired)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clock != nil && !p.ConfirmClock {
		return fmt.Errorf("expire: %w", f.clock)
	}
	f.clock = nil
	if p.Mail == 0 && p.Large == 0 && p.Accounts == 0 {
		f.checks++
		return nil
	}
	f.runs, f.policy = append(f.runs, time.Now().UTC()), p
	report(storage.Expired{Of: 3, Stored: 10})
	report(storage.Expired{Account: smtp.Address{LocalPart: "alice", Domain: "relay.test"}, Messages: 2, Octets: 20})
	if f.blocks {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return ctx.Err()
	}
	report(storage.Expired{Of: 3, Stored: 10, Looked: 3, Accounts: 1, Messages: 2, Octets: 20, Strays: 1, Kept: 1})
	return f.fails
}

// set changes what the store does.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func daily(t *testing.T, f *fake, state string) *Daily {
	return New(Config{Store: f, Mail: 20, Large: 7, Accounts: 90, State: state, Metrics: metrics.New()})
}

// clocks tells the times of runs, by day and clock.
func (f *fake) clocks() string {
	var list []string
	for _, t := range f.runs {
		list = append(list, t.Format("02 15:04"))
	}
	return strings.Join(list, ", ")
}

// A relay expires soon after it was first started, then each day at the same
// time; a day that was missed is made up for, and one that was not is not.
func TestRunsOnceADay(t *testing.T) {
	state := filepath.Join(t.TempDir(), "expiry.json")
	synctest.Test(t, func(t *testing.T) { // the clock begins at 2000-01-01 00:00 UTC
		f := &fake{}
		for i, stop := range []time.Duration{50 * time.Hour, 30 * time.Hour, 3 * time.Hour} {
			d := daily(t, f, state)
			d.Start()
			time.Sleep(stop)
			if err := d.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if i == 0 {
				time.Sleep(30 * time.Hour) // is off
			}
		}
		if got, want := f.clocks(), "01 00:05, 02 00:02, 03 00:02, 04 08:05, 05 00:02"; got != want {
			t.Errorf("ran at %s, want %s", got, want)
		}
		if f.policy != (storage.ExpiryPolicy{Mail: 20, Large: 7, Accounts: 90}) {
			t.Errorf("%+v", f.policy)
		}
		if f.checks == 0 {
			t.Error("the clock was never looked at")
		}
	})
}

// What fails is a finding, and tried again within the hour.
func TestWhatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fails: errors.New("the disk is broken")}
		d := daily(t, f, "")
		d.Start()
		defer d.Stop(t.Context())
		time.Sleep(2*time.Hour + 30*time.Minute)
		synctest.Wait()
		if got := f.clocks(); got != "01 00:05, 01 01:05, 01 02:05" {
			t.Errorf("ran at %s", got)
		}
		found := d.Findings()
		if len(found) != 1 || found[0].ID != "expiry.failed" || !strings.Contains(found[0].Text, "broken") || d.Last() != nil {
			t.Errorf("%+v", found)
		}
		f.set(func() { f.fails = nil })
		time.Sleep(time.Hour)
		synctest.Wait()
		if found := d.Findings(); len(found) != 0 || d.Last() == nil {
			t.Errorf("later: %+v", found)
		}
	})
}

// A clock that moved is a finding within the hour, until it is confirmed; then
// the run is made up for.
func TestClockThatMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		d := daily(t, f, "")
		d.Start()
		defer d.Stop(t.Context())
		time.Sleep(10 * time.Hour)
		f.set(func() { f.clock = storage.ErrClock })
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		found := d.Findings()
		if len(found) != 1 || found[0].ID != "expiry.clock" || !strings.Contains(found[0].Remedy, "--confirm-clock") {
			t.Errorf("%+v", found)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if len(f.runs) != 1 || len(d.Findings()) != 1 {
			t.Errorf("ran at %s, %+v", f.clocks(), d.Findings())
		}
		if _, err := d.Run(t.Context(), storage.ExpiryPolicy{}, nil); !errors.Is(err, storage.ErrClock) {
			t.Error(err)
		}
		if _, err := d.Run(t.Context(), storage.ExpiryPolicy{ConfirmClock: true}, nil); err != nil || len(d.Findings()) != 0 {
			t.Errorf("%v, %+v", err, d.Findings())
		}
		if got := d.Status().Next.Format("02 15:04"); got != "03 00:02" {
			t.Errorf("next %s", got)
		}
	})
}

// A run that the operator asks for counts as the day's; a dry one does not.
// Both tell what they do as they go.
func TestRunsThatAreAskedFor(t *testing.T) {
	state := filepath.Join(t.TempDir(), "expiry.json")
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		registry := metrics.New()
		d := New(Config{Store: f, Mail: 20, State: state, Metrics: registry})
		told := 0
		dry, err := d.Run(t.Context(), storage.ExpiryPolicy{DryRun: true}, func(storage.Expired) { told++ })
		if err != nil || told != 3 || d.Last() != nil || !f.policy.DryRun {
			t.Errorf("dry: %v, %d reports, %+v", err, told, d.Last())
		}
		if _, err := os.Stat(state); err == nil {
			t.Error("a dry run is kept")
		}
		if got := dry.String(); got != "Would remove 1 out of 3 mailboxes and 2 out of 10 files in existing mailboxes in 0.0 seconds" {
			t.Error(got)
		}
		s, err := d.Run(t.Context(), storage.ExpiryPolicy{}, nil)
		if err != nil || s.String() != "Removed 1 out of 3 mailboxes and 2 out of 10 files in existing mailboxes in 0.0 seconds" {
			t.Errorf("%v %v", s.String(), err)
		}
		if last := daily(t, f, state).Last(); last == nil || *last != s {
			t.Errorf("kept %+v of %+v", last, s)
		}
		values, _ := registry.Values()
		for name, want := range map[string]float64{
			"expiry_runs": 1, "expired_accounts": 1, "expired_messages": 2, "expired_bytes": 20, "expired_strays": 1, "expiry_last_run_seconds": 946684800,
		} {
			if values[name] != want {
				t.Errorf("%s is %v, want %v", name, values[name], want)
			}
		}
	})
}

// A run under way is seen, and ends with the relay; it is no fault.
func TestStopEndsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{blocks: true}
		d := daily(t, f, "")
		d.Start()
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if s := d.Status(); s.Running == nil || s.Running.Accounts != 3 || s.Last != nil {
			t.Errorf("%+v", s)
		}
		d.Stop(t.Context())
		if s := d.Status(); s.Running != nil || s.Last != nil || s.Problem != "" {
			t.Errorf("%+v", s)
		}
	})
}

// A state file that is nonsense costs a run that comes early.
func TestSpoiltState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "expiry.json")
	if err := os.WriteFile(state, []byte("{nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	if d := daily(t, f, state); d.Last() != nil {
		t.Errorf("%+v", d.Last())
	}
}
