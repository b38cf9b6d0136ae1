package maildir_test

import (
	"strings"
	"testing"
	"time"

	"barid/storage"
	"barid/storage/maildir"
)

func TestNamesOfOtherServersAreRead(t *testing.T) {
	for _, c := range []struct {
		in    string
		base  string
		size  int64
		uid   uint32
		flags storage.Flags
		time  int64
	}{
		{"1775324677.M448978P3029757.exam,S=3235,W=3305:2,S", "1775324677.M448978P3029757.exam", 3235, 0, storage.FlagSeen, 1775324677},
		{"1775324677.M448978P3029757.exam,S=3235,W=3305", "1775324677.M448978P3029757.exam", 3235, 0, 0, 1775324677},
		{"1775324677.Q4711N0.barid,S=5000,U=12:2,DFRST", "1775324677.Q4711N0.barid", 5000, 12, storage.SystemFlags, 1775324677},
		{"1038319226.20063_1.host.test:2,RSabP", "1038319226.20063_1.host.test", -1, 0, storage.FlagAnswered | storage.FlagSeen, 1038319226},
		{"1282968451.H2P1.exam,S=18446744073709551615,S=7:2,", "1282968451.H2P1.exam", 7, 0, 0, 1282968451},
		{"x", "x", -1, 0, 0, 0},
		{"1.x:1,S", "1.x", -1, 0, 0, 1},
		{"99999999999999999999.x,S=1", "99999999999999999999.x", 1, 0, 0, 0},
	} {
		n, ok := maildir.ParseName(c.in)
		if !ok || n.Base != c.base || n.Size != c.size || n.UID != c.uid || n.Flags != c.flags {
			t.Errorf("%s: %+v, %t", c.in, n, ok)
		}
		got := n.Received()
		if c.time == 0 && !got.IsZero() || c.time != 0 && got.Unix() != c.time {
			t.Errorf("%s: received %v", c.in, got)
		}
	}
	for _, in := range []string{"", ".hidden", "a/b", "a\x00b", ",S=1", ":2,S", strings.Repeat("a", 256)} {
		if n, ok := maildir.ParseName(in); ok {
			t.Errorf("%q is a name: %+v", in, n)
		}
	}
}

// Keywords and passed marks of another server are its user's, too.
func TestAFlagChangeKeepsWhatWeDoNotKnow(t *testing.T) {
	n, _ := maildir.ParseName("1.x,W=20,S=10,Z=q:2,PSba")
	n.Flags |= storage.FlagDeleted
	if got, want := n.String(), "1.x,W=20,S=10,Z=q:2,PSTab"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	n.Flags = 0
	if got, want := n.String(), "1.x,W=20,S=10,Z=q:2,Pab"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	n.UID = 5
	if got, want := n.String(), "1.x,S=10,U=5,W=20,Z=q:2,Pab"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := n.Stem(), "1.x,S=10,U=5,W=20,Z=q"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNamesInNewHaveNoFlagsPart(t *testing.T) {
	n, _ := maildir.ParseName("1.x,S=10")
	if n.String() != "1.x,S=10" || n.InCur().String() != "1.x,S=10:2," {
		t.Error(n.String(), n.InCur().String())
	}
	n.Flags = storage.FlagSeen
	if n.String() != "1.x,S=10:2,S" {
		t.Error(n.String())
	}
}

func TestOurNames(t *testing.T) {
	at := time.Unix(1775324677, 5)
	n := maildir.Name{Base: maildir.NewBase(at, 4711, 3), Size: 5000, UID: 12, Flags: storage.FlagSeen | storage.FlagFlagged}
	if got, want := n.String(), "1775324677.Q4711N3.barid,S=5000,U=12:2,FS"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	back, ok := maildir.ParseName(n.String())
	if !ok || back.UID != 12 || back.Size != 5000 || back.Flags != n.Flags || !back.Received().Equal(at.Truncate(time.Second)) {
		t.Errorf("%+v", back)
	}
	if got := maildir.NewBase(time.Unix(-5, 0), 1, 0); got != "0.Q1N0.barid" {
		t.Error(got)
	}
}

func FuzzName(f *testing.F) {
	f.Add("1775324677.M448978P3029757.exam,S=3235,W=3305:2,S")
	f.Add("1.x,S=,U=0,U=99999999999,,:2,zzSSDa!")
	f.Add("a:b:2,c,S=1")
	f.Add("\xff,\xfe=:2,\x80")
	f.Fuzz(func(t *testing.T, in string) {
		n, ok := maildir.ParseName(in)
		if !ok {
			return
		}
		_ = n.Received()
		back, ok := maildir.ParseName(n.String())
		if len(n.String()) <= 255 && (!ok || back.String() != n.String() || back.Stem() != n.Stem()) {
			t.Errorf("%q becomes %q, then %q", in, n.String(), back.String())
		}
		if !strings.HasPrefix(in, n.Stem()) {
			t.Errorf("%q has the stem %q", in, n.Stem())
		}
		// A name that is put together anew says the same.
		n.UID++
		if n.UID == 0 || len(n.String()) > 255 {
			return
		}
		if back, ok := maildir.ParseName(n.String()); !ok || back.UID != n.UID || back.Size != n.Size || back.Flags != n.Flags || back.Base != n.Base {
			t.Errorf("%q with a UID becomes %+v", in, back)
		}
	})
}

func TestFolders(t *testing.T) {
	for mailbox, want := range map[string]string{
		"INBOX": "", "inbox": "", "A": ".A", "A.B": ".A.B", "INBOX.A": ".INBOX.A", "&AOk-t": ".&AOk-t", "with space": ".with space",
	} {
		got, err := maildir.FolderPath(mailbox)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", mailbox, got, err)
		}
		if want == "" {
			continue
		}
		if back, ok := maildir.FolderName(got); !ok || back != mailbox {
			t.Errorf("%q: back %q, %t", mailbox, back, ok)
		}
	}
	for _, mailbox := range []string{"", ".", "..", "A.", ".A", "A..B", "A/B", "../x", "A\x00", "A\n", "é", "A\x7f", strings.Repeat("a", 201)} {
		if got, err := maildir.FolderPath(mailbox); err == nil {
			t.Errorf("%q: %q", mailbox, got)
		}
	}
	for _, dir := range []string{"cur", "new", "tmp", ".", "..", "", "A", ".INBOX", ".A/B"} {
		if got, ok := maildir.FolderName(dir); ok {
			t.Errorf("%q is the mailbox %q", dir, got)
		}
	}
}
