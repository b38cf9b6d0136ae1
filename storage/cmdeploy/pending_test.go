package cmdeploy

import (
	"path/filepath"
	"strings"
	"testing"
)

// Wake-ups that wait are taken over; what the reference would call spurious is
// counted and left.
func TestReadsWakeUpsThatWait(t *testing.T) {
	_, dir := newTree(t)
	id := func(c string) string { return strings.Repeat(c, 16) }
	for name, text := range map[string]string{
		id("01"):             "alice0001@relay.test\n1795600000.25\nfcm-chat.delta:a\nb\n",
		id("02"):             "alice0001@other.test\n1795600000\n1111\n",
		id("03"):             "alice0001@relay.test\nsoon\n1111\n",
		id("04"):             "alice0001@relay.test\n1795600000\n",
		id("05"):             "alice0001@relay.test\n1795600000\n" + strings.Repeat("x", 5000),
		id("06") + ".tmp":    "alice0001@relay.test\n1795600000\n1111\n",
		"notes":              "",
		id("07") + "/inside": "",
	} {
		put(t, text, dir, pendingDir, name)
	}
	waiting, bad, err := openTree(t, dir).Pending()
	if err != nil || bad != 7 || len(waiting) != 1 {
		t.Fatalf("%+v, %d bad, %v", waiting, bad, err)
	}
	if w := waiting[0]; w.Account.LocalPart != "alice0001" || w.Token != "fcm-chat.delta:a\nb" || w.Since.Unix() != 1795600000 {
		t.Errorf("%+v", w)
	}
	_, empty := newTree(t)
	if waiting, bad, err := openTree(t, empty).Pending(); len(waiting) != 0 || bad != 0 || err != nil {
		t.Errorf("of nothing: %v, %d, %v", waiting, bad, err)
	}
}

// Mail that waits in Postfix's queue is counted, wherever in it.
func TestCountsMailThatWaitsInPostfix(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"deferred/A/A1", "deferred/B/B1", "hold/C1", "maildrop/D1", "active/E1", "incoming/F1", "defer/A/A1", "pid/master.pid"} {
		put(t, "", filepath.Join(dir, name))
	}
	if n, err := Spool(dir); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := Spool(filepath.Join(dir, "nowhere")); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
