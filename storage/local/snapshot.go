package local

import (
	"barid/storage"
	"barid/storage/maildir"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
)

const (
	snapshotName  = "barid-mailbox"
	snapshotMagic = "barid-mailbox 3\n"
	// Older versions are read, not written. snapshotV2 has no MailboxID,
	// snapshotV1 neither that nor Message.Saved and Message.ID.
	snapshotV2  = "barid-mailbox 2\n"
	snapshotV1  = "barid-mailbox 1\n"
	maxSnapshot = 256 << 20
)

// errSnapshot is inside every error about a snapshot that cannot be read.
var errSnapshot = errors.New("bad mailbox snapshot")

// errNewer is about a snapshot that is whole and of a version that this
// program does not know. Nothing may be made of its mailbox, or it would be
// lost to the program that does.
var errNewer = errors.New("mailbox snapshot of an unknown version")

// snapshot is a mailbox in a file: all that the files of the messages do not
// say. Encoded it is: the magic line, numbers as unsigned varints, the
// messages, and the CRC-32C of all before it.
type snapshot struct {
	checkpoint uint64 // the journal was trimmed so far
	applied    uint64 // the last record that is in it
	validity   storage.UIDValidity
	id         storage.MailboxID // zero: the snapshot is older than IDs
	next       storage.UID
	modseq     storage.ModSeq
	changed    [2]int64 // times of cur and new, in nanoseconds: while they are so, no other program was there; zero is not known, timesAdopting is none
	messages   []storage.Message
	items      []*item // each settled
	old        bool    // of version 1, so its messages have no ID yet
}

// timesAdopting, in place of times, says that files which the mailbox does not
// have yet keep the UIDs that Dovecot's list, or their names, tell.
var timesAdopting = [2]int64{-1, -1}

func snapshotOf(bs *boxState, checkpoint uint64) *snapshot {
	return &snapshot{
		checkpoint: checkpoint, applied: bs.seq, validity: bs.view.UIDValidity, id: bs.view.ID, next: bs.view.UIDNext,
		modseq: bs.view.HighestModSeq, messages: bs.view.Messages, items: bs.items,
	}
}

func (sn *snapshot) encode() []byte {
	var e encoder
	e.b = append(make([]byte, 0, 64+48*len(sn.messages)), snapshotMagic...)
	e.number(sn.checkpoint)
	e.number(sn.applied)
	e.number(uint64(sn.validity))
	e.b = append(e.b, sn.id[:]...)
	e.number(uint64(sn.next))
	e.number(uint64(sn.modseq))
	e.signed(sn.changed[0])
	e.signed(sn.changed[1])
	e.number(uint64(len(sn.messages)))
	var last storage.UID
	for i := range sn.messages {
		m, it := &sn.messages[i], sn.items[i]
		e.number(uint64(m.UID - last))
		last = m.UID
		e.number(uint64(m.Flags))
		e.number(uint64(m.ModSeq))
		e.number(uint64(m.Size))
		e.signed(int64(m.Received))
		e.signed(int64(m.Saved - m.Received))
		e.b = binary.LittleEndian.AppendUint64(e.b, m.ID) // its octets are random: shorter in no other way
		e.number(uint64(it.loc.Load() &^ locBroken))
		if it.foreign != nil {
			e.text(it.foreign.String())
			continue
		}
		e.text("")
		e.number(it.seq)
		e.number(uint64(it.n))
	}
	return sealed(e.b)
}

// sealed appends the checksum of a small file.
func sealed(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unsealed takes it off again, and the line that the file begins with; false
// when the checksum does not fit.
func unsealed(b []byte) (line string, body []byte, ok bool) {
	end := len(b) - 4
	if end < 0 || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return "", nil, false
	}
	n := bytes.IndexByte(b[:end], '\n') + 1
	return string(b[:n]), b[n:end], true
}

// decodeSnapshot reads a snapshot. The error wraps errSnapshot or errNewer.
func decodeSnapshot(b []byte) (*snapshot, error) {
	line, body, ok := unsealed(b)
	switch {
	case !ok || !strings.HasPrefix(line, "barid-mailbox "):
		return nil, fmt.Errorf("%w: its checksum, or how it begins", errSnapshot)
	case line != snapshotMagic && line != snapshotV2 && line != snapshotV1:
		return nil, fmt.Errorf("%w: %.30q, this program knows up to %q", errNewer, strings.TrimSpace(line), strings.TrimSpace(snapshotMagic))
	}
	d := decoder{b: body}
	sn := &snapshot{
		old:        line == snapshotV1,
		checkpoint: d.number(), applied: d.number(), validity: storage.UIDValidity(d.below(1 << 32)),
	}
	if line == snapshotMagic {
		sn.id = d.mailboxID()
	}
	sn.next, sn.modseq, sn.changed = d.uid(), d.modseq(), [2]int64{d.signed(), d.signed()}
	least := 8 // octets of a message
	if !sn.old {
		least += 9
	}
	n := d.count(least)
	slab := make([]item, n)
	sn.messages, sn.items = make([]storage.Message, 0, n+1), make([]*item, 0, n+1)
	last := uint64(0)
	for ; n > 0 && d.err == nil; n-- {
		step := d.below(1 << 32)
		if last += step; step == 0 || last >= uint64(sn.next) {
			d.fail("UIDs that do not ascend")
			break
		}
		m := storage.Message{UID: storage.UID(last), Flags: d.flags(), ModSeq: d.modseq(), Size: d.size(), Received: storage.Time(d.signed())}
		m.Saved = m.Received
		if !sn.old {
			m.Saved += storage.Time(d.signed())
			m.ID = d.fixed()
		}
		sn.messages, sn.items = append(sn.messages, m), append(sn.items, &slab[len(sn.items)])
		d.item(sn.items[len(sn.items)-1])
	}
	if d.err == nil && len(d.b) != 0 {
		d.fail("octets after its end")
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshot, d.err)
	}
	return sn, nil
}

// fixed reads a number of eight octets.
func (d *decoder) fixed() uint64 {
	b := d.octets(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (d *decoder) item(it *item) {
	it.loc.Store(uint32(d.below(1<<32))&^(locDead|locNumbered|locBroken) | locSettled)
	if text := d.text(); text != "" {
		if _, ok := maildir.ParseName(text); !ok {
			d.fail("a name that no file has")
		}
		it.foreign = foreignName(text)
		return
	}
	it.seq, it.n = d.number(), uint32(d.below(1<<32))
}

// dirTimes gives when names in the directories of a mailbox last changed;
// zeros where that is not known.
func (s *Store) dirTimes(dir maildir.Dir) (changed [2]int64) {
	for i, sub := range []string{maildir.Cur, maildir.New} {
		info, err := s.fs.Stat(dir.Path() + "/" + sub)
		if err != nil {
			return [2]int64{}
		}
		changed[i] = info.ModTime().UnixNano()
	}
	return changed
}

// readSnapshot gives the snapshot in a directory: nil when there is none.
// names is the directory's listing.
func (s *Store) readSnapshot(dir string, names []string) (*snapshot, error) {
	text, err := s.readNewest(dir, snapshotName, names)
	if text == nil || err != nil {
		return nil, err
	}
	sn, err := decodeSnapshot(text)
	if err != nil || !sn.old {
		return sn, err
	}
	for i := range sn.messages {
		m := &sn.messages[i]
		m.ID = s.ids.of(sn.items[i].base(m))
	}
	return sn, nil
}

// readNewest reads a file that checkpoints write: the one of the last
// checkpoint that trimmed the journal. When that was cut off before it gave
// the file its name, it gets it now; and what a checkpoint left that came to
// nothing goes, before a later one makes its number look good. It gives nil
// when there is no file.
func (s *Store) readNewest(dir, name string, names []string) ([]byte, error) {
	there, err := s.nameNewest(dir, name, names)
	if !there || err != nil {
		return nil, err
	}
	text, err := s.readFile(dir+"/"+name, maxSnapshot)
	if text == nil && err == nil {
		text = []byte{}
	}
	return text, err
}

// nameNewest is readNewest without reading.
func (s *Store) nameNewest(dir, name string, names []string) (there bool, err error) {
	newest := uint64(0)
	for _, found := range names {
		n, ok := checkpointOf(found, name)
		switch {
		case !ok:
		case n <= s.trimmed.Load():
			newest, there = max(newest, n), true
		default:
			if err := s.fs.Remove(dir + "/" + found); err != nil {
				return false, err
			}
		}
	}
	if newest > 0 {
		err = s.fs.Rename(fmt.Sprintf("%s/%s.%d", dir, name, newest), dir+"/"+name)
	}
	return there, err
}

// checkpointOf reads the number of a checkpoint in a file name: "NAME.7" is 7,
// "NAME" is zero.
func checkpointOf(name, of string) (uint64, bool) {
	rest, ok := strings.CutPrefix(name, of)
	if !ok || rest == "" {
		return 0, ok
	}
	digits, ok := strings.CutPrefix(rest, ".")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

func (s *Store) readFile(name string, limit int64) ([]byte, error) {
	f, err := s.fs.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s is larger than %d octets", name, limit)
	}
	return text, nil
}

// createFile makes a file anew and lets write fill it.
func (s *Store) createFile(name string, write func(io.Writer) error) error {
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = write(w)
	return errors.Join(err, w.Flush(), f.Close())
}

// replaceFile makes a file anew under another name and gives it its own.
func (s *Store) replaceFile(name string, write func(io.Writer) error) error {
	if err := s.createFile(name+".new", write); err != nil {
		return err
	}
	return s.fs.Rename(name+".new", name)
}
