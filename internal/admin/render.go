package admin

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"barid/internal/finding"
)

// Render writes a Status for people, one screen: what is wrong first, and of
// limits and counters only those that say something.
func Render(s Status, w io.Writer) error {
	var b strings.Builder
	version := s.Version
	if s.Commit != "" {
		version += " (" + s.Commit + ")"
	}
	fmt.Fprintf(&b, "barid %s serves %s\n", version, s.Domain)
	fmt.Fprintf(&b, "up %s, since %s\n", duration(s.Uptime()), s.Started.UTC().Format("2006-01-02 15:04:05 MST"))
	store := s.Store.State
	if s.Store.Text != "" {
		store += ", " + s.Store.Text
	}
	fmt.Fprintf(&b, "store: %s%s\n", store, s.Queue.line())
	if s.Registration != "" {
		fmt.Fprintf(&b, "registration: %s\n", s.Registration)
	}
	renderExpiry(&b, s.Expiry)
	renderMachine(&b, s.Machine)
	renderFindings(&b, s.Findings)
	renderListeners(&b, s.Listeners)
	renderLimits(&b, s.Limits)
	renderCounters(&b, s.Counters)
	_, err := io.WriteString(w, b.String())
	return err
}

// renderExpiry writes one line.
func renderExpiry(b *strings.Builder, e *Expiry) {
	if e == nil {
		return
	}
	const minute = "2006-01-02 15:04 MST"
	switch {
	case e.Running:
		b.WriteString("expiry: under way")
	case e.Last.IsZero():
		b.WriteString("expiry: not yet")
	default:
		fmt.Fprintf(b, "expiry: %s, %s", e.Last.UTC().Format(minute), e.Says)
	}
	if !e.Next.IsZero() {
		fmt.Fprintf(b, "; next %s", e.Next.UTC().Format(minute))
	}
	b.WriteByte('\n')
}

// line is the queue in some words behind those about the store.
func (q *Queue) line() string {
	switch {
	case q == nil:
		return ""
	case q.Entries == 0:
		return "; nothing waits for other servers"
	}
	line := fmt.Sprintf("; for other servers %d messages, the oldest %s, %d being sent", q.Entries, duration(time.Duration(q.Oldest*float64(time.Second))), q.InFlight)
	if q.Held > 0 {
		line += fmt.Sprintf(", %d held", q.Held)
	}
	if q.Broken > 0 {
		line += fmt.Sprintf(", destinations out of reach: %d", q.Broken)
	}
	return line
}

func renderFindings(b *strings.Builder, findings []finding.Finding) {
	if len(findings) == 0 {
		b.WriteString("findings: none\n")
		return
	}
	b.WriteString("\nfindings\n")
	worst := slices.Clone(findings)
	slices.SortStableFunc(worst, func(x, y finding.Finding) int { return int(y.Severity - x.Severity) })
	for _, f := range worst {
		fmt.Fprintf(b, "  %-7s  %s (%s)\n", f.Severity, f.Text, f.ID)
		if f.Remedy != "" {
			fmt.Fprintf(b, "           %s\n", f.Remedy)
		}
	}
}

// renderMachine writes one line.
func renderMachine(b *strings.Builder, machine []Reading) {
	cells := make([]string, len(machine))
	for i, r := range machine {
		value, limit := r.figure(r.Value), ""
		if r.Unreadable {
			value = "unreadable"
		}
		switch {
		case r.Limit == 0:
		case r.AtMost:
			limit = " (at most " + r.figure(r.Limit) + ")"
		default:
			limit = " (at least " + r.figure(r.Limit) + ")"
		}
		cells[i] = r.Name + " " + value + limit
	}
	if len(cells) > 0 {
		fmt.Fprintf(b, "machine: %s\n", strings.Join(cells, ", "))
	}
}

// figure writes a number as people read it.
func (r Reading) figure(v float64) string {
	const step = 1024
	if !r.Octets {
		return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
	}
	unit := 0
	for ; v >= step && unit < 4; unit++ {
		v /= step
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + []string{"", "K", "M", "G", "T"}[unit]
}

func renderListeners(b *strings.Builder, listeners []Listener) {
	if len(listeners) == 0 {
		return
	}
	b.WriteString("\nlisteners\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, l := range listeners {
		fmt.Fprintf(t, "  %s\t%s\n", l.Name, l.Addr)
	}
	t.Flush()
}

// renderLimits shows the limits in use and those that refused, and counts the
// rest.
func renderLimits(b *strings.Builder, limits []Limit) {
	if len(limits) == 0 {
		return
	}
	rest := 0
	rows := [][]string{{"", "use", "of", "refused"}}
	for _, l := range limits {
		if l.Use == 0 && l.Refused == 0 {
			rest++
			continue
		}
		bound := "unbounded"
		if l.Max != 0 {
			bound = strconv.FormatInt(l.Max, 10)
		}
		rows = append(rows, []string{l.Name, strconv.FormatInt(l.Use, 10), bound, strconv.FormatInt(l.Refused, 10)})
	}
	b.WriteString("\nlimits\n")
	if len(rows) > 1 {
		table(b, rows)
	}
	if rest > 0 {
		fmt.Fprintf(b, "  %d not in use\n", rest)
	}
}

func renderCounters(b *strings.Builder, counters map[string]float64) {
	rest := 0
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if counters[name] == 0 {
			rest++
			continue
		}
		rows = append(rows, []string{name, strconv.FormatFloat(counters[name], 'f', -1, 64)})
	}
	if len(rows)+rest == 0 {
		return
	}
	b.WriteString("\ncounters\n")
	table(b, rows)
	if rest > 0 {
		fmt.Fprintf(b, "  %d at zero\n", rest)
	}
}

// table writes rows with the first column to the left and figures to the
// right.
func table(b *strings.Builder, rows [][]string) {
	width := make([]int, 8)
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("  %-*s", width[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", width[i+1], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// duration gives the two largest units: "3d 4h", "12m 5s".
func duration(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	day := 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
