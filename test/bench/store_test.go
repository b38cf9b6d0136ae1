package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// What the store's scenarios do works, however short they are.
func TestStoreScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two seconds")
	}
	o := options{quick: true, duration: 300 * time.Millisecond, dir: t.TempDir()}
	d := disk{"here", o.dir}
	rows, err := rawDisk(t.Context(), o, d)
	if err != nil {
		t.Fatal(err)
	}
	more, err := storeDeliveries(t.Context(), o, d, "always", smallMailbox)
	if err != nil {
		t.Fatal(err)
	}
	rows = append(rows, more...)
	for _, row := range rows {
		if row.Value <= 0 {
			t.Errorf("%s: %v", row.Name, row.Value)
		}
	}
	if len(rows) != 10+4 {
		t.Errorf("%d figures", len(rows))
	}
}

// A message that is deleted at once never becomes a file, and is written once.
func TestCycleMakesNoFile(t *testing.T) {
	o := options{quick: true, duration: 500 * time.Millisecond, dir: t.TempDir()}
	rows, err := storeCycle(t.Context(), o, disk{"here", o.dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if strings.Contains(row.Name, "files of messages") && row.Value != 0 {
			t.Errorf("%s: %v", row.Name, row.Value)
		}
		if strings.Contains(row.Name, "written") && (row.Value < 5 || row.Value > 8) {
			t.Errorf("%s: %v %s", row.Name, row.Value, row.Unit)
		}
	}
}

// Opening a store touches no account.
func TestOpeningTouchesNoAccount(t *testing.T) {
	var work [2]float64
	for i, accounts := range []int{1, 500} {
		dir := t.TempDir()
		if err := makeAccounts(dir, accounts); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first makes the journal
			rows, err := openAlone(dir, accounts, disk{"here", dir})
			if err != nil {
				t.Fatal(err)
			}
			work[i] = rows[1].Value
		}
	}
	// The settler may have begun to note the time, or not yet.
	if work[1] > work[0]+10 || work[0] == 0 {
		t.Errorf("%v file operations with 1 account and %v with 500", work[0], work[1])
	}
}

// Where root may, both kinds of ext4 are measured, and nothing is left behind.
func TestImagesGoAgain(t *testing.T) {
	dir := t.TempDir()
	d, undo, err := mountImage(t.Context(), dir, "ext4 without journal", "^has_journal")
	if err != nil {
		t.Skipf("no image can be mounted here: %v", err)
	}
	if _, err := flushTime(d.dir); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	kind, device := mountOf(string(mounts), d.dir)
	if kind != "ext4" || journalOf(kind, device) != "no" {
		t.Errorf("%s with journal: %s", kind, journalOf(kind, device))
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
}
