package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"barid/smtp"
	"barid/storage"
)

var exampleID = storage.MailboxID{0: 1, 7: '\n', 15: 255}

// exampleRecord has a change of every kind.
func exampleRecord() *record {
	list := []changed{{uid: 1, flags: 3, at: -5, saved: 1 << 40, size: 7, id: 2, own: true}, {uid: 4_000_000_000, flags: 0, at: 1 << 33, size: 1 << 40, id: 1<<64 - 1}}
	uids := []changed{{uid: 5}, {uid: 6}}
	return &record{
		accounts: []smtp.Address{at("alice"), {LocalPart: "bob", Domain: "[192.0.2.7]"}},
		contents: []recordContent{
			{size: 5, crc: 1 << 31, octets: []byte("hello")}, {size: 1 << 30, crc: 7, staged: "abcdef"}, {octets: []byte{}},
		},
		changes: []change{
			{kind: changeBorn, box: "INBOX", validity: 1 << 31, id: exampleID, text: "{SHA512-CRYPT}$6$"},
			{kind: changeDied, account: 1, old: "hash"},
			{kind: changePassword, text: "new", old: "old"},
			{kind: changeEntry, box: "A", text: "/private/x", value: []byte("v\x00"), at: 99},
			{kind: changeEntry, text: "/private/x", value: []byte{}, remove: true},
			{kind: changeSubscribe, text: "A.B", remove: true},
			{kind: changeMakeBox, box: "A", validity: 9, id: exampleID},
			{kind: changeDropBox, box: "A"},
			{kind: changeAdd, box: "INBOX", uid: 7, modseq: 8, flags: 31, at: 1_790_000_000, saved: 1_780_000_000, content: 2, remove: true},
			{kind: changeCopy, box: "A", to: "B", uid: 9, modseq: 10, list: list},
			{kind: changeFlags, box: "A", modseq: 11, list: []changed{{uid: 3, flags: 1}}},
			{kind: changeExpunge, box: "A", modseq: 12, list: uids},
			{kind: changeAdopt, box: "A", uid: 1, modseq: 2, flags: 3, at: 4, size: 5, text: "1.foreign:2,S", remove: true},
			{kind: changeRebuilt, box: "A", validity: 1, id: exampleID, uid: 2, modseq: 3},
			// What no version before 3 had.
			{kind: changeEnqueue, at: 1_790_000_000, content: 1, queue: &queueChange{id: 1 << 40, env: exampleEnvelope()}},
			{kind: changeDequeue, queue: &queueChange{id: 1, gone: []uint32{0, 1, 7, 9999}}},
			{kind: changeMarks, queue: &queueChange{id: 1<<63 - 1, marks: storage.QueueHeld | storage.QueueWarned}},
		},
	}
}

func exampleEnvelope() *envelope {
	return &envelope{
		dest: "[192.0.2.7]", sender: at("alice"), from: smtp.Path{Address: at("alice")}, prefix: []byte("A: b\r\n"),
		to: []smtp.Address{{LocalPart: "a b", Domain: "[192.0.2.7]"}, {LocalPart: "c", Domain: "[192.0.2.7]"}},
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	r := exampleRecord()
	b := bytes.Join(r.encode(), nil)
	got, err := decodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got\n%+v\nwant\n%+v", got, r)
	}
	for n := range b {
		if _, err := decodeRecord(b[:n]); !errors.Is(err, errRecord) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if kinds := len(r.changes) - 1; kinds != int(changeKinds)-1 {
		t.Errorf("the example has %d of %d kinds", kinds, changeKinds-1)
	}
}

func exampleSnapshot() *snapshot {
	sn := &snapshot{checkpoint: 7, applied: 9, validity: 1 << 31, id: exampleID, next: 4_000_000_000, modseq: 1 << 40}
	for uid := storage.UID(1); uid < 20; uid += 3 {
		it := &item{seq: uint64(uid) * 1000, n: uint32(uid)}
		it.loc.Store(locSettled | locOf(true, storage.FlagSeen))
		if uid == 10 {
			it = &item{foreign: foreignName("1775324677.M4P3.exam,S=3235,W=3305:2,Sa")}
			it.loc.Store(locSettled)
		}
		sn.messages = append(sn.messages, storage.Message{UID: uid, Flags: storage.FlagSeen, ModSeq: 5, Size: 99, Received: 1_790_000_000, Saved: 1_800_000_000, ID: 1<<63 | uint64(uid)})
		sn.items = append(sn.items, it)
	}
	return sn
}

func TestSnapshotsComeBackAsTheyWere(t *testing.T) {
	sn := exampleSnapshot()
	b := sn.encode()
	got, err := decodeSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.messages, sn.messages) || got.applied != 9 || got.validity != sn.validity || got.id != sn.id || got.next != sn.next || got.modseq != sn.modseq {
		t.Errorf("got %+v", got)
	}
	for i, it := range got.items {
		want := sn.items[i]
		if it.base(&got.messages[i]) != want.base(&sn.messages[i]) || it.loc.Load() != want.loc.Load() {
			t.Errorf("item %d: %+v, want %+v", i, it, want)
		}
	}
	for i := range b {
		torn := bytes.Clone(b)
		torn[i] ^= 0x40
		if _, err := decodeSnapshot(torn); !errors.Is(err, errSnapshot) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
	}
}

// Nothing of an earlier version of this program is lost.
func TestRecordsOfEarlierVersionsAreRead(t *testing.T) {
	for version := recordV1; version < recordVersion; version++ {
		b, err := os.ReadFile(fmt.Sprint("testdata/record.", version))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		want := exampleRecord()
		want.changes = want.changes[:len(want.changes)-3]
		for i := range want.changes {
			want.changes[i].id = storage.MailboxID{}
		}
		if version == recordV1 {
			add, list := &want.changes[8], want.changes[9].list
			add.saved = add.at
			for i := range list {
				// The message that was added is number 0.
				list[i].saved, list[i].own, list[i].id = list[i].at, true, uint64(1+i)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: got\n%+v\nwant\n%+v", version, got, want)
		}
		for _, none := range []byte{0, recordVersion + 1} {
			b[0] = none
			if _, err := decodeRecord(b); !errors.Is(err, errRecord) || !strings.Contains(err.Error(), fmt.Sprintf("version %d,", none)) {
				t.Errorf("a record of version %d: %v", none, err)
			}
		}
	}
}

func TestSnapshotsOfEarlierVersionsAreRead(t *testing.T) {
	for version, magic := range []string{snapshotV1, snapshotV2} {
		b, err := os.ReadFile(fmt.Sprint("testdata/barid-mailbox.", 1+version))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeSnapshot(b)
		if err != nil {
			t.Fatal(err)
		}
		old := magic == snapshotV1
		want := exampleSnapshot()
		for i := range want.messages {
			if m := &want.messages[i]; old {
				m.Saved, m.ID = m.Received, 0
			}
		}
		if !reflect.DeepEqual(got.messages, want.messages) || got.old != old || got.modseq != want.modseq || got.id != (storage.MailboxID{}) {
			t.Errorf("got %+v", got)
		}
	}
	next := exampleSnapshot().encode()
	next = sealed(append([]byte("barid-mailbox 4\n"), next[len(snapshotMagic):len(next)-4]...))
	if _, err := decodeSnapshot(next); !errors.Is(err, errNewer) || errors.Is(err, errSnapshot) {
		t.Errorf("a snapshot of the next version: %v", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(bytes.Join(exampleRecord().encode(), nil))
	for version := recordV1; version < recordVersion; version++ {
		if old, err := os.ReadFile(fmt.Sprint("testdata/record.", version)); err == nil {
			f.Add(old)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := decodeRecord(bytes.Join(r.encode(), nil))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v becomes %+v, %v", r, again, err)
		}
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	b := exampleSnapshot().encode()
	f.Add(b[:len(b)-4])
	for _, version := range []string{"1", "2"} {
		if old, err := os.ReadFile("testdata/barid-mailbox." + version); err == nil {
			f.Add(old[:len(old)-4])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		sn, err := decodeSnapshot(b)
		if err != nil {
			if !errors.Is(err, errSnapshot) && !errors.Is(err, errNewer) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := decodeSnapshot(sn.encode())
		if err != nil || !reflect.DeepEqual(again.messages, sn.messages) {
			t.Errorf("%+v becomes %+v, %v", sn, again, err)
		}
	})
}

// A carried record is written as it is read, whatever is in it.
func FuzzDecodeCarried(f *testing.F) {
	whole := func(c *carried) []byte { return bytes.Join(c.encode(), nil) }
	f.Add(whole(&carried{seq: 7, accounts: []string{"alice"}, record: []byte{recordVersion, 0, 0, 0}}))
	f.Add(whole(&carried{seq: 1 << 40, accounts: []string{"a", "b"}, leftovers: []string{"mail/x/cur.7"}}))
	f.Add([]byte{recordCarried, 1, 0, 0, recordCarried})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || b[0] != recordCarried {
			return
		}
		c, err := decodeCarried(b)
		if err != nil {
			return
		}
		again, err := decodeCarried(whole(c))
		if err != nil || again.seq != c.seq || !slices.Equal(again.accounts, c.accounts) || !slices.Equal(again.leftovers, c.leftovers) ||
			!bytes.Equal(again.record, c.record) {
			t.Fatalf("%+v, %v; was %+v", again, err, c)
		}
	})
}
