package queue

import (
	"fmt"
	"time"

	"barid/internal/finding"
)

const (
	// manyBroken is from how many destinations out of reach on an operator is
	// told, when they are half of those that have mail.
	manyBroken = 5
	// old is the age at which waiting mail is worth a word.
	old = 6 * time.Hour
)

// Findings tells of mail that does not leave. It names no destination.
func (q *Queue) Findings() (all []finding.Finding) {
	s := q.Summary()
	if s.Entries*10 >= s.Most*9 && s.Most > 0 {
		all = append(all, finding.Finding{
			ID: "queue.filling", Severity: finding.Fault,
			Text:   fmt.Sprintf("The queue for other servers has %d messages and takes at most %d; then mail for others is put off.", s.Entries, s.Most),
			Remedy: "See \"barid peers\" for what does not answer; discard what nobody waits for, or raise federation.max_queued.",
		})
	}
	if s.Broken >= manyBroken && 2*s.Broken >= s.Destinations {
		all = append(all, finding.Finding{
			ID: "queue.many-unreachable", Severity: finding.Warning,
			Text:   fmt.Sprintf("%d of the %d destinations that have mail cannot be reached.", s.Broken, s.Destinations),
			Remedy: "So many at once are hardly their fault: look at this machine's network and DNS, and at the last errors in \"barid peers\".",
		})
	}
	if s.Oldest.Duration() >= old {
		all = append(all, finding.Finding{
			ID: "queue.old", Severity: finding.Info,
			Text:   fmt.Sprintf("The oldest message for another server waits for %v.", s.Oldest.Duration().Round(time.Minute)),
			Remedy: "\"barid queue list\" and \"barid queue why\" tell what it waits for.",
		})
	}
	return all
}
