package push

import (
	"testing"
	"time"

	"barid/internal/journal"
	"barid/smtp"
)

// What waited at another relay waits here, once for each token, and what is
// too old does not.
func TestAdoptsWhatWaits(t *testing.T) {
	now := time.Unix(1_795_600_000, 0)
	fsys, err := journal.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	alice := smtp.Address{LocalPart: "alice", Domain: "relay.test"}
	for _, want := range []int{2, 3} {
		n, err := Adopt(fsys, []Waiting{
			{alice, "one", now.Add(-time.Minute)},
			{alice, "one", now.Add(-time.Hour)},
			{alice, []string{"", "", "two", "three"}[want], now},
			{alice, "old", now.Add(-6 * time.Hour)},
		}, now)
		if n != want || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	f := file{fs: fsys}
	waiting, bad, err := f.read(10)
	if err != nil || bad != 0 || len(waiting) != 3 {
		t.Fatalf("%v, %d bad, %v", waiting, bad, err)
	}
	for _, c := range waiting {
		if c.account != alice || c.attempts != 0 || c.due > now.UnixMilli() {
			t.Errorf("%+v", c)
		}
	}
}
