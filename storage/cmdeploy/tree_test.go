package cmdeploy

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"barid/internal/finding"
	"barid/internal/journal"
	"barid/smtp"
	"barid/storage"
	"barid/storage/local"
)

const hash = "{SHA512-CRYPT}$6$abcdefgh$yVfUwsw5T.JApa8POvClA1pQ5peiq97DUNyXCZN5IrF.BMSkiaLQ5kvpuEm/VQ1Tvh/KV2TcaWh8qinoW5dhA1"

// put writes a file of the old relay, and makes its directories.
func put(t testing.TB, text string, elem ...string) {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// putAlice makes a whole account.
func putAlice(t testing.TB, tree string) {
	t.Helper()
	alice := filepath.Join(tree, "alice0001@relay.test")
	put(t, hash, alice, "password")
	put(t, "", alice, "enforceE2EEincoming")
	put(t, "", alice, "DISABLED")
	put(t, `{"devicetoken": {"1111": 1795600000}}`, alice, "metadata.json")
	put(t, "DeltaChat\n", alice, "subscriptions")
	put(t, "junk", alice, "dovecot.index.log")
	put(t, "1000 1", alice, "maildirsize")
	put(t, "one", alice, "cur", "1775324677.M1P1.mx,S=3,W=4:2,S")
	put(t, gzipped(t, strings.Repeat("two ", 100)), alice, "cur", "1775324678.M1P1.mx,S=400,W=401:2,FSa")
	put(t, "three", alice, "new", "1775324679.M1P1.mx,S=5,W=6")
	put(t, "0 $Forwarded\n", alice, "dovecot-keywords")
	put(t, "3 V1275660208 N12 G3085f01b7f11094c501100008c4a11c1\n5 W4 :1775324677.M1P1.mx,S=3,W=4\n9 :1775324678.M1P1.mx,S=400,W=401\n", alice, "dovecot-uidlist")
	put(t, "four", alice, ".DeltaChat", "cur", "1775324680.M1P1.mx,S=4:2,")
	put(t, "3 V1275660209 N4 G4085f01b7f11094c501100008c4a11c1\n3 :1775324680.M1P1.mx,S=4\n", alice, ".DeltaChat", "dovecot-uidlist")
	login := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(alice, "password"), login, login); err != nil {
		t.Fatal(err)
	}
}

func openTree(t testing.TB, dir string) *Tree {
	t.Helper()
	tree, err := OpenTree(dir, "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// newTree makes the directory of a tree that lies where ours does, below the
// data directory that it gives.
func newTree(t testing.TB) (dataDir, dir string) {
	t.Helper()
	dataDir = t.TempDir()
	dir = filepath.Join(dataDir, "mail", "relay.test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dataDir, dir
}

func openStore(t testing.TB, dataDir string) *local.Store {
	t.Helper()
	s, err := local.Open(local.Config{Dir: dataDir, Domain: "relay.test", Idle: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// adopt runs all of a tree through the store, and gives what was found.
func adopt(t testing.TB, dataDir, dir string) (Sum, []string) {
	t.Helper()
	s := openStore(t, dataDir)
	defer s.Close()
	tree := openTree(t, dir)
	names, found, err := tree.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	w := &Work{Tree: tree, Accounts: names, Store: s, Workers: 2, Report: func(f Found) error { found = append(found, f); return nil }}
	sum, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sum, idsOf(found)
}

// idsOf gives what was found, in an order of its own.
func idsOf(found []Found) []string {
	var ids []string
	for _, f := range found {
		id := strings.Join(strings.Fields(fmt.Sprint(strings.TrimPrefix(f.ID, "import."), " ", f.Account, " ", f.Mailbox, " ", f.File)), " ")
		if f.Severity != finding.Warning {
			id = f.Severity.String() + " " + id
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// An account comes over as it is: UIDs, flags, folders, compressed mail; what
// clients will not see is told.
func TestAdoptsAnAccountAsItLies(t *testing.T) {
	dataDir, dir := newTree(t)
	putAlice(t, dir)
	for range 2 { // a second time changes nothing
		sum, found := adopt(t, dataDir, dir)
		want := Sum{Directories: 1, Looked: 1, Accounts: 1, Mailboxes: 2, Messages: 4, Octets: 412}
		if sum != want {
			t.Errorf("%+v", sum)
		}
		if want := []string{"info keywords alice0001@relay.test INBOX"}; !slices.Equal(found, want) {
			t.Errorf("found %q", found)
		}
	}
	s := openStore(t, dataDir)
	defer s.Close()
	alice := storage.Account{Address: smtp.Address{LocalPart: "alice0001", Domain: "relay.test"}}
	m, err := s.Open(t.Context(), alice, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, err := m.View(t.Context())
	if err != nil || v.UIDValidity != 1275660208 || v.UIDNext != 13 || v.ID.String() != "3085f01b7f11094c501100008c4a11c1" || len(v.Messages) != 3 {
		t.Fatalf("%+v, %v", v, err)
	}
	for i, want := range []struct {
		uid   storage.UID
		flags storage.Flags
		text  string
	}{{5, storage.FlagSeen, "one"}, {9, storage.FlagSeen | storage.FlagFlagged, strings.Repeat("two ", 100)}, {12, 0, "three"}} {
		if got := v.Messages[i]; got.UID != want.uid || got.Flags != want.flags {
			t.Errorf("%+v", got)
		}
		err := m.Read(t.Context(), []storage.UID{want.uid}, storage.Whole, func(_ storage.UID, c storage.Content) error {
			text := make([]byte, c.Size())
			if _, err := c.ReadAt(text, 0); string(text) != want.text {
				t.Errorf("UID %d: %q, %v", want.uid, text, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if about, err := s.About(t.Context(), alice); err != nil || about.LastLogin.Format(time.DateOnly) != "2026-11-03" || !about.Frozen {
		t.Errorf("%+v, %v", about, err)
	}
	if tokens, err := s.Entries(t.Context(), alice, "INBOX"); err != nil || len(tokens) != 1 || string(tokens[0].Value) != "1111" {
		t.Errorf("%v, %v", tokens, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "alice0001@relay.test", "maildirsize")); err == nil {
		t.Error("maildirsize is still there")
	}
	names, err := os.ReadDir(filepath.Join(dir, "alice0001@relay.test", "cur"))
	if err != nil || !slices.ContainsFunc(names, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), ":2,FSa") }) {
		t.Errorf("the keyword is gone from %v, %v", names, err)
	}
}

// What is broken is named, the rest comes over, and nothing that is not an
// account's is touched.
func TestNamesWhatIsBrokenAndAdoptsTheRest(t *testing.T) {
	dataDir, dir := newTree(t)
	putAlice(t, dir)
	at := func(name string, files map[string]string) {
		for file, text := range files {
			put(t, text, dir, name, file)
		}
	}
	message := "1775324677.M1P1.mx,S=3:2,"
	at("nolist001@relay.test", map[string]string{"password": hash, "cur/" + message: "one"})
	at("badlist01@relay.test", map[string]string{"password": hash, "cur/" + message: "one", "dovecot-uidlist": "3 nothing\n"})
	at("cutlist01@relay.test", map[string]string{
		"password": hash, "cur/" + message: "one", "cur/1775324678.M1P1.mx,S=3:2,": "two",
		"dovecot-uidlist": "3 V5 N30\n7 :1775324677.M1P1.mx,S=3\n8 :17753",
	})
	at("locked001@relay.test", map[string]string{"password": hash, "dovecot-uidlist.lock": ""})
	at("nopass001@relay.test", map[string]string{"cur/" + message: "one"})
	at("empty0001@relay.test", map[string]string{"password": "", "cur/" + message: "one"})
	at("blocked01@relay.test", map[string]string{"password": "!" + hash})
	at("tokens001@relay.test", map[string]string{"password": hash, "metadata.json": "{"})
	at("rawlog001@relay.test", map[string]string{"password": hash, "20261101-1.in": "a LOGIN x y", "notes.txt": ""})
	at("folders01@relay.test", map[string]string{"password": hash, ".a..b/cur/" + message: "one", "cur/sub/x": "", "cur/1775324677.M1P1.mx:2,S": "one", "cur/" + message: "one"})
	at("sizes0001@relay.test", map[string]string{
		"password": hash, "cur/1775324677.M1P1.mx,S=99:2,": "short", "cur/1775324678.M1P1.mx,S=5:2,": "right",
		"cur/1775324679.M1P1.mx,S=400:2,": gzipped(t, strings.Repeat("two ", 100)), "new/1775324680.M1P1.mx,S=40": gzipped(t, strings.Repeat("two ", 100)),
		"dovecot-uidlist": "3 V5 N30\n7 :1775324677.M1P1.mx,S=99\n8 :1775324678.M1P1.mx,S=5\n9 :1775324679.M1P1.mx,S=400\n10 :1775324680.M1P1.mx,S=40\n",
	})
	at("ending001@relay.test", map[string]string{"password": hash, "cur/" + message: "one", "dovecot-uidlist": "3 V4294967295 N8\n7 :1775324677.M1P1.mx,S=3\n"})
	at("ending002@relay.test", map[string]string{"password": hash, "cur/" + message: "one", "dovecot-uidlist": "3 V5 N4294967295\n7 :1775324677.M1P1.mx,S=3\n"})
	at("wrong0001@relay.test", map[string]string{"password": hash, "cur": "a file"})
	at("Upper0001@relay.test", map[string]string{"password": hash})
	at("alice0001@other.test", map[string]string{"password": hash})
	put(t, "", dir, "lost+found", "x")
	put(t, "", dir, "readme")

	sum, found := adopt(t, dataDir, dir)
	want := []string{
		"address Upper0001@relay.test", "address alice0001@other.test",
		"double folders01@relay.test INBOX",
		"fault locked locked001@relay.test INBOX dovecot-uidlist.lock",
		"fault unreadable wrong0001@relay.test",
		"foreign folders01@relay.test INBOX",
		"info foreign lost+found", "info foreign readme",
		"info foreign rawlog001@relay.test notes.txt",
		"info keywords alice0001@relay.test INBOX",
		"mailbox folders01@relay.test .a..b",
		"no-hash blocked01@relay.test password", "no-hash empty0001@relay.test password",
		"no-password nopass001@relay.test",
		"rawlog rawlog001@relay.test",
		"size sizes0001@relay.test INBOX cur/1775324677.M1P1.mx,S=99:2,",
		"tokens tokens001@relay.test metadata.json",
		"uidlist badlist01@relay.test INBOX dovecot-uidlist", "uidlist cutlist01@relay.test INBOX dovecot-uidlist",
		"uidlist ending001@relay.test INBOX dovecot-uidlist", "uidlist ending002@relay.test INBOX dovecot-uidlist",
		"uidlist empty0001@relay.test INBOX dovecot-uidlist", "uidlist folders01@relay.test INBOX dovecot-uidlist",
		"uidlist nolist001@relay.test INBOX dovecot-uidlist",
	}
	want[2] = "info " + want[2]
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("found\n%s\nnot\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	if sum.Accounts != 13 || sum.Faults != 2 || sum.Directories != 15 {
		t.Errorf("%+v", sum)
	}
	s := openStore(t, dataDir)
	defer s.Close()
	m, err := s.Open(t.Context(), storage.Account{Address: smtp.Address{LocalPart: "cutlist01", Domain: "relay.test"}}, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, err := m.View(t.Context())
	if err != nil || v.UIDValidity != 5 || len(v.Messages) != 2 || v.Messages[0].UID != 7 || v.Messages[1].UID != 30 {
		t.Errorf("%+v, %v", v, err)
	}
}

// snapshotOfTree gives every name below dir with what is in it.
func snapshotOfTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		below, _ := filepath.Rel(dir, path)
		all[below] = fmt.Sprintf("%s %v %s", info.Mode(), info.ModTime().UnixNano(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// copyTo copies a tree into a data directory.
func copyTo(t *testing.T, from, dataDir string, live bool) (sum Copied, found []Found) {
	t.Helper()
	to, err := journal.OpenFS(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	tree := openTree(t, from)
	names, _, err := tree.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	c := &Copy{From: tree, To: to, Dir: "mail/relay.test", Live: live}
	if err := c.DropOthers(names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s, f, err := c.Account(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		sum.add(s)
		found = append(found, f...)
	}
	return sum, found
}

// A copy has all that counts, leaves its source as it was, and the second one
// brings only what changed since, though the first was adopted.
func TestCopiesWhatChangedAndAltersNothing(t *testing.T) {
	_, from := newTree(t)
	putAlice(t, from)
	put(t, hash, from, "gone00001@relay.test", "password")
	before := snapshotOfTree(t, from)
	dataDir, to := newTree(t)
	sum, found := copyTo(t, from, dataDir, false)
	if sum.Files != 4 || len(found) != 0 {
		t.Errorf("%+v, %v", sum, found)
	}
	adopt(t, dataDir, to)
	if after := snapshotOfTree(t, from); !mapsEqual(before, after) {
		t.Errorf("the source was altered:\n%v\n%v", before, after)
	}

	alice := filepath.Join(from, "alice0001@relay.test")
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(alice, from), filepath.Join(alice, to)); err != nil {
			t.Fatal(err)
		}
	}
	rename("cur/1775324677.M1P1.mx,S=3,W=4:2,S", "cur/1775324677.M1P1.mx,S=3,W=4:2,FS")
	rename("new/1775324679.M1P1.mx,S=5,W=6", "cur/1775324679.M1P1.mx,S=5,W=6:2,")
	for _, gone := range []string{"cur/1775324678.M1P1.mx,S=400,W=401:2,FSa", "DISABLED"} {
		if err := os.Remove(filepath.Join(alice, gone)); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []string{filepath.Join(alice, ".DeltaChat"), filepath.Join(from, "gone00001@relay.test")} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}
	put(t, "five", alice, "new", "1775324690.M1P1.mx,S=4")
	put(t, "six666", alice, "new", "1775324685.M1P1.mx,S=6") // came later, though its name is older
	put(t, "3 V1275660208 N15 G3085f01b7f11094c501100008c4a11c1\n5 W4 :1775324677.M1P1.mx,S=3,W=4\n12 :1775324679.M1P1.mx,S=5,W=6\n13 :1775324690.M1P1.mx,S=4\n14 :1775324685.M1P1.mx,S=6\n", alice, "dovecot-uidlist")
	sum, _ = copyTo(t, from, dataDir, false)
	if sum.Files != 2 || sum.Renamed != 2 {
		t.Errorf("%+v", sum)
	}
	got, found2 := adopt(t, dataDir, to)
	if got.Accounts != 1 || got.Messages != 4 || got.Mailboxes != 1 || len(found2) != 0 {
		t.Errorf("%+v, %v", got, found2)
	}
	s := openStore(t, dataDir)
	defer s.Close()
	m, err := s.Open(t.Context(), storage.Account{Address: smtp.Address{LocalPart: "alice0001", Domain: "relay.test"}}, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, err := m.View(t.Context())
	if err != nil || len(v.Messages) != 4 || v.UIDNext != 15 || v.Messages[0].Flags != storage.FlagSeen|storage.FlagFlagged || v.Messages[2].Size != 4 || v.Messages[3].Size != 6 {
		t.Errorf("%+v, %v", v, err)
	}
}

func mapsEqual(x, y map[string]string) bool {
	for k, v := range x {
		if y[k] != v {
			return false
		}
	}
	return len(x) == len(y)
}

// busyFS changes the tree while it is copied: the n-th look at a file renames
// a message, as a client that sets a flag does.
type busyFS struct {
	journal.FS
	stats int
	every int
	dir   string
	names [2]string
}

func (b *busyFS) OpenFile(name string, flag int) (journal.File, error) {
	if b.stats++; b.stats%b.every == 0 {
		b.names[0], b.names[1] = b.names[1], b.names[0]
		_ = b.FS.Rename(b.dir+b.names[1], b.dir+b.names[0])
	}
	return b.FS.OpenFile(name, flag)
}

// A tree that changes while it is copied is copied again; one that does not
// stand still is named, and no mail is missing.
func TestNamesATreeThatChangesMeanwhile(t *testing.T) {
	for _, live := range []bool{false, true} {
		_, from := newTree(t)
		putAlice(t, from)
		tree := openTree(t, from)
		tree.fs = &busyFS{
			FS: tree.fs, every: 1, dir: "alice0001@relay.test/cur/",
			names: [2]string{"1775324677.M1P1.mx,S=3,W=4:2,S", "1775324677.M1P1.mx,S=3,W=4:2,FS"},
		}
		dataDir, to := newTree(t)
		toFS, err := journal.OpenFS(dataDir)
		if err != nil {
			t.Fatal(err)
		}
		defer toFS.Close()
		c := &Copy{From: tree, To: toFS, Dir: "mail/relay.test", Live: live}
		if err := os.RemoveAll(filepath.Join(to)); err != nil {
			t.Fatal(err)
		}
		put(t, "", to, ".keep")
		sum, found, err := c.Account(t.Context(), "alice0001@relay.test")
		want := []string{"fault changed alice0001@relay.test INBOX"}
		if live {
			want[0] = "info changed alice0001@relay.test INBOX"
		}
		if err != nil || !slices.Equal(idsOf(found), want) || sum.Repeat != tries-1 {
			t.Errorf("live %v: %+v, %v, %v", live, sum, found, err)
		}
	}
}

// An import that is cut off between two accounts goes on where it was.
func TestGoesOnAfterACut(t *testing.T) {
	dataDir, dir := newTree(t)
	putAlice(t, dir)
	for i := range 20 {
		name := fmt.Sprintf("bob%06d@relay.test", i)
		put(t, hash, dir, name, "password")
		put(t, "one", dir, name, "cur", "1775324677.M1P1.mx,S=3:2,S")
		put(t, "3 V7 N9\n8 :1775324677.M1P1.mx,S=3\n", dir, name, "dovecot-uidlist")
	}
	s := openStore(t, dataDir)
	tree := openTree(t, dir)
	names, _, err := tree.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &Work{Tree: tree, Accounts: names, Store: s, Report: func(Found) error { return nil }, Progress: func(s Sum) {
		if s.Looked == 5 {
			cancel()
		}
	}}
	if sum, err := w.Run(ctx); err == nil || sum.Looked >= 21 {
		t.Fatalf("%+v, %v", sum, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sum, found := adopt(t, dataDir, dir)
	if sum.Accounts != 21 || sum.Faults != 0 {
		t.Errorf("%+v, %v", sum, found)
	}
}

// liar is a store whose views are not what it has.
type liar struct {
	Store
	lie func(*storage.View)
}

func (l liar) Open(ctx context.Context, a storage.Account, mailbox string) (storage.Mailbox, error) {
	m, err := l.Store.Open(ctx, a, mailbox)
	return lyingBox{m, l.lie}, err
}

type lyingBox struct {
	storage.Mailbox
	lie func(*storage.View)
}

func (l lyingBox) View(ctx context.Context) (*storage.View, error) {
	v, err := l.Mailbox.View(ctx)
	if err != nil {
		return nil, err
	}
	told := *v
	told.Messages = slices.Clone(v.Messages)
	l.lie(&told)
	return &told, nil
}

// What the store made of an account is compared with what lies on disk, in all
// that clients remember.
func TestNoticesAStoreThatIsNotWhatLiesOnDisk(t *testing.T) {
	dataDir, dir := newTree(t)
	putAlice(t, dir)
	s := openStore(t, dataDir)
	defer s.Close()
	for what, lie := range map[string]func(*storage.View){
		"UIDVALIDITY is": func(v *storage.View) { v.UIDValidity++ },
		"UIDNEXT is":     func(v *storage.View) { v.UIDNext = 1 },
		"messages, not":  func(v *storage.View) { v.Messages = v.Messages[1:] },
		"is missing":     func(v *storage.View) { v.Messages[0].UID-- },
		"octets, not":    func(v *storage.View) { v.Messages[0].Size++ },
	} {
		var found []Found
		w := &Work{Tree: openTree(t, dir), Accounts: []string{"alice0001@relay.test"}, Store: liar{s, lie}, Report: func(f Found) error {
			if f.ID == FoundMismatch {
				found = append(found, f)
			}
			return nil
		}}
		if _, err := w.Run(t.Context()); err != nil || len(found) != 2 || !strings.Contains(found[0].Text, what) {
			t.Errorf("%s: %v, %v", what, found, err)
		}
	}
}

// Of a relay at an address the accounts have it in brackets, and the tree lies
// in a directory of the bare one.
func TestAdoptsARelayAtAnAddress(t *testing.T) {
	dataDir := t.TempDir()
	dir := filepath.Join(dataDir, "mail", "192.0.2.7")
	put(t, hash, dir, "alice0001@[192.0.2.7]", "password")
	put(t, hash, dir, "alice0001@192.0.2.7", "password")
	tree, err := OpenTree(dir, "[192.0.2.7]")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	names, found, err := tree.Accounts()
	if err != nil || !slices.Equal(names, []string{"alice0001@[192.0.2.7]"}) || len(found) != 1 {
		t.Fatalf("%v, %v, %v", names, found, err)
	}
	s, err := local.Open(local.Config{Dir: dataDir, Domain: "[192.0.2.7]"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := &Work{Tree: tree, Accounts: names, Store: s, Report: func(f Found) error { found = append(found, f); return nil }}
	if sum, err := w.Run(t.Context()); err != nil || sum.Accounts != 1 || len(found) != 1 {
		t.Errorf("%+v, %v, %v", sum, err, found)
	}
}

// Files that belong to somebody else than the tree are counted, and come over.
func TestNamesFilesOfAnotherOwner(t *testing.T) {
	_, dir := newTree(t)
	putAlice(t, dir)
	tree := openTree(t, dir)
	for _, strange := range []bool{false, true} {
		if strange {
			tree.owner++ // only root could give files away
		}
		seen, found, err := tree.Look(t.Context(), "alice0001@relay.test")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"info keywords alice0001@relay.test INBOX"}
		if strange {
			want = append(want, "owner alice0001@relay.test")
		}
		if got := idsOf(found); !slices.Equal(got, want) || (seen.Strange > 0) != strange || seen.Messages() != 4 {
			t.Errorf("found %q, %+v", got, seen)
		}
	}
}
