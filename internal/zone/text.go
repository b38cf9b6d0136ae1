package zone

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// headings of the levels, in a zone file and in a table.
var headings = [...]string{"Required DNS entries", "Recommended DNS entries", "Optional DNS entries"}

// Text gives the records as the text of a zone file, in columns. What nobody
// here can know is a comment.
func Text(records []Record) string {
	names, kinds := 0, 0
	for _, r := range records {
		if r.Level < Optional {
			names, kinds = max(names, len(r.Name)+1), max(kinds, len(r.Type))
		}
	}
	return sections(records, "; ", func(b *strings.Builder, r Record) {
		if r.Data == "" {
			fmt.Fprintf(b, "; %s. A and AAAA: the public addresses of the relay, which this machine does not know (dns.addresses)\n", r.Name)
			return
		}
		if r.Level == Optional {
			fmt.Fprintf(b, "; %s:\n; %s\n", r.Why, r.Line())
			return
		}
		fmt.Fprintf(b, "%-*s %d IN %-*s %s\n", names, r.Name+".", r.TTL, kinds, r.Type, r.Data)
	})
}

// tableHead explains what forms differ in.
const tableHead = `Names are whole. A form that adds the name of the zone by itself wants only what
stands before it: in the zone example.org, chat.example.org is "chat", and
example.org is "@" or nothing at all.

`

// Table gives the records as they are typed into the forms of providers: one
// field a line, because the values are long.
func Table(records []Record) string {
	return tableHead + sections(records, "", func(b *strings.Builder, r Record) {
		w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "  Type\t%s\n", r.Type)
		fmt.Fprintf(w, "  Name\t%s\n", r.Name)
		value := r.Value
		if r.Data == "" {
			value = "the public IPv4 address of the relay; another record, AAAA, has the IPv6 one"
		}
		if r.Priority >= 0 {
			fmt.Fprintf(w, "  Priority\t%d\n", r.Priority)
		}
		if fields := strings.Fields(value); r.Type == "SRV" && len(fields) == 3 {
			fmt.Fprintf(w, "  Weight\t%s\n  Port\t%s\n", fields[0], fields[1])
			value = fields[2]
		}
		fmt.Fprintf(w, "  Value\t%s\n", value)
		fmt.Fprintf(w, "  Why\t%s\n", r.Why)
		w.Flush()
		b.WriteByte('\n')
	})
}

// sections writes the records level by level.
func sections(records []Record, mark string, write func(*strings.Builder, Record)) string {
	var b strings.Builder
	for level, heading := range headings {
		first := true
		for _, r := range records {
			if r.Level != Level(level) {
				continue
			}
			if first {
				if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n\n") {
					b.WriteByte('\n')
				}
				b.WriteString(mark + heading + "\n")
				if mark == "" {
					b.WriteByte('\n')
				}
				first = false
			}
			write(&b, r)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
