package local

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"barid/storage"
)

// The table of accounts tells what may be due for expiry without a look at
// each account. A row is a bound, not a truth: nothing of the account is older
// than it says. It is written when an account has something older than its
// row, so a checkpoint appends a line for few accounts; an account that was
// looked at for nothing gets a better one. What has no row is looked at. So
// the table may be lost at any time, at the price of time.
//
//	barid-accounts 1
//	A <local-part> <day of the last login> <oldest> <oldest large> <messages> <day of the last look>
//	C <time that the clock showed>
//
// Times are seconds of the Unix epoch, days are days of it, zero is none.
const (
	tableName  = "barid-accounts"
	tableTitle = tableName + " 1"
	// tableTail is where the last time noted is looked for first, in octets: it
	// is written behind all rows.
	tableTail = 4 << 10
)

// standing is a row.
type standing struct {
	login    int32 // day
	looked   int32 // day
	messages uint32
	oldest   storage.Time // of Message.Saved
	large    storage.Time // the same of large content, be it looked at or not
}

// days of the epoch.
func dayNumber(t time.Time) int32 { return int32(max(t.Unix(), 0) / 86400) }

func (r standing) text(local string) string {
	return fmt.Sprintf("A %s %d %d %d %d %d", local, r.login, r.oldest, r.large, r.messages, r.looked)
}

// parseStanding reads a row.
func parseStanding(text string) (local string, r standing, ok bool) {
	parts := strings.Split(text, " ")
	if len(parts) != 7 || parts[0] != "A" || parts[1] == "" {
		return "", standing{}, false
	}
	var n [5]int64
	for i, part := range parts[2:] {
		bits := 33 // up to the year 2242
		if i == 0 || i == 4 {
			bits = 24
		}
		v, err := strconv.ParseUint(part, 10, bits)
		if err != nil {
			return "", standing{}, false
		}
		n[i] = int64(v)
	}
	return parts[1], standing{
		login: int32(n[0]), oldest: storage.Time(n[1]), large: storage.Time(n[2]), messages: uint32(n[3]), looked: int32(n[4]),
	}, true
}

// parseNoted reads a time that the clock showed.
func parseNoted(text string) (time.Time, bool) {
	digits, ok := strings.CutPrefix(text, "C ")
	seconds, err := strconv.ParseUint(digits, 10, 33)
	return time.Unix(int64(seconds), 0), ok && err == nil
}

// note takes a message into account.
func (r *standing) note(saved storage.Time, size int64) {
	saved = max(saved, 1)
	if r.oldest == 0 || saved < r.oldest {
		r.oldest = saved
	}
	if size > storage.LargeSize && (r.large == 0 || saved < r.large) {
		r.large = saved
	}
	r.messages++
}

// above tells whether something is older than r says.
func (r *standing) above(now standing) bool {
	return now.oldest != 0 && (r.oldest == 0 || now.oldest < r.oldest) || now.large != 0 && (r.large == 0 || now.large < r.large)
}

// standingOf gives the row of an account in memory.
func (s *Store) standingOf(a *account, st *accountState) standing {
	now := s.clock.now()
	r := standing{login: dayNumber(a.pw.lastLogin(now)), looked: dayNumber(now)}
	for _, bs := range st.boxes {
		if len(bs.view.Messages) == 0 {
			continue
		}
		r.messages += uint32(len(bs.view.Messages))
		if r.oldest == 0 || bs.oldest < r.oldest {
			r.oldest = max(bs.oldest, 1)
		}
		if bs.large != 0 && (r.large == 0 || bs.large < r.large) {
			r.large = bs.large
		}
	}
	return r
}

// noteAccounts writes the rows of accounts whose rows would be wrong, and the
// time. A table that cannot be written costs time later, no more. Store.disk
// is held.
func (s *Store) noteAccounts(states []accountAt) {
	var lines []string
	var noted []accountAt
	var rows []standing
	for _, at := range states {
		if !at.st.alive {
			continue
		}
		row := s.standingOf(at.a, at.st)
		if at.a.noted != nil && !at.a.noted.above(row) {
			continue
		}
		lines, noted, rows = append(lines, row.text(at.a.addr.LocalPart)), append(noted, at), append(rows, row)
	}
	if !s.appendRows(lines) {
		return
	}
	for i, at := range noted {
		at.a.noted = &rows[i]
	}
}

// appendRows appends rows to the table, and the time, if it can be believed.
// Store.disk is held.
func (s *Store) appendRows(rows []string) bool {
	if _, lies := s.clock.lies(); !lies {
		now := s.clock.now()
		rows = append(rows, fmt.Sprintf("C %d", max(now.Unix(), 0)))
		s.clockNoted = now
	}
	if _, err := s.table.append(rows...); err != nil {
		s.log.Warn("the table of accounts cannot be written", "part", "storage", "error", err)
		return false
	}
	return true
}

// clockEvery is how often the time is noted while nothing else is written.
const clockEvery = time.Hour

// noteClock notes the time when the last note is old.
func (s *Store) noteClock() {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.clock.now().Sub(s.clockNoted) >= clockEvery && !s.readOnly.Load() {
		s.appendRows(nil)
	}
}

// readClock takes the last time that an earlier run noted.
func (s *Store) readClock() error {
	var last time.Time
	take := func(_ int64, text string) {
		if t, ok := parseNoted(text); ok {
			last = t
		}
	}
	err := s.table.look()
	if err == nil {
		_, err = s.table.read(max(s.table.size-tableTail, 0), take)
	}
	if err == nil && last.IsZero() && s.table.size > tableTail {
		_, err = s.table.read(0, take)
	}
	switch {
	case errors.Is(err, errTitle):
		return err
	case err != nil:
		s.log.Warn("the table of accounts cannot be read, a clock that moved is not noticed", "part", "storage", "error", err)
	case !last.IsZero():
		s.clock.noted(last)
	}
	return nil
}

// readTable reads all rows, by local-part.
func (s *Store) readTable() (rows map[string]standing, lines int, err error) {
	rows = map[string]standing{}
	bad, err := s.table.read(0, func(_ int64, text string) {
		lines++
		if local, row, ok := parseStanding(text); ok {
			rows[local] = row
		}
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the table of accounts: %w", err)
	}
	if bad > 0 {
		s.log.Warn("the table of accounts has lines that are not whole, their accounts are looked at", "part", "storage", "lines", bad)
	}
	return rows, lines, nil
}

// packTable makes the table anew when most of it is history. keep tells
// whether an account still is. Store.disk is held.
func (s *Store) packTable(keep func(local string) bool) error {
	rows, lines, err := s.readTable()
	if err != nil {
		return err
	}
	for local := range rows {
		if !keep(local) {
			delete(rows, local)
		}
	}
	if lines <= 2*len(rows)+1000 {
		return nil
	}
	err = s.table.rewrite(func(write func(string)) {
		for local, row := range rows {
			write(row.text(local))
		}
		write(fmt.Sprintf("C %d", max(s.clock.noteworthy().Unix(), 0)))
	})
	if err != nil {
		return fmt.Errorf("pack the table of accounts: %w", err)
	}
	return nil
}
