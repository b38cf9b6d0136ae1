package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/smtp/queue"
	"barid/storage"
)

// queueTimeout bounds a verb about many entries.
const queueTimeout = 30 * time.Second

func queueCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "queue",
		Short: "Look after mail on its way to other servers",
	}, queueListCommand(), queueShowCommand("show", false), queueShowCommand("why", true),
		queueVerb("hold", "Keep messages from being sent, until they are released", "held"),
		queueVerb("release", "Let messages go that were held", "released"),
		queueVerb("retry", "Send messages now, whatever they wait for", "to be tried"),
		queueVerb("discard", "End messages unsent", "discarded"))
}

// which reads what a verb is about: IDs, a destination, or --all.
func which(args []string, all bool) (queue.Which, error) {
	w := queue.Which{All: all}
	for _, arg := range args {
		if id, err := strconv.ParseUint(arg, 10, 64); err == nil {
			w.IDs = append(w.IDs, storage.QueueID(id))
			continue
		}
		if w.Dest != "" {
			return w, fmt.Errorf("one destination at a time: %q and %q", w.Dest, arg)
		}
		w.Dest = strings.ToLower(arg)
	}
	switch {
	case len(w.IDs) > 0 && w.Dest != "", all && (len(w.IDs) > 0 || w.Dest != ""):
		return w, errors.New("say IDs, or a destination, or --all")
	case !all && len(w.IDs) == 0 && w.Dest == "":
		return w, errors.New("say which: IDs, a destination, or --all")
	}
	return w, nil
}

func queueListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [DESTINATION]",
		Short: "List messages on their way, oldest first",
		Args:  cobra.MaximumNArgs(1),
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		q := app.QueueWhich{Which: queue.Which{All: len(args) == 0}}
		if len(args) == 1 {
			q.Dest = strings.ToLower(args[0])
		}
		var list app.QueueList
		if err := asking.ask(cmd, queueTimeout, "/queue/list", q, &list); err != nil {
			return err
		}
		return asking.print(cmd, list, func(w io.Writer) error { return printQueue(w, list, time.Now()) })
	}
	return c
}

func printQueue(w io.Writer, list app.QueueList, now time.Time) error {
	s := list.Summary
	fmt.Fprintf(w, "%d of %d entries, %d octets, %d being sent, %d held, destinations out of reach: %d\n", s.Entries, s.Most, s.Octets, s.InFlight, s.Held, s.Broken)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(list.Rows) > 0 {
		fmt.Fprintln(t, "id\tdestination\toctets\tage\ttries\tstate\tnext in\twhy")
	}
	for _, r := range list.Rows {
		next := ""
		if !r.Next.IsZero() {
			next = max(r.Next.Sub(now), 0).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", r.ID, r.Dest, r.Size, now.Sub(r.Queued).Round(time.Second), r.Tries, r.State, next, r.Why)
	}
	return t.Flush()
}

func queueShowCommand(use string, onlyText bool) *cobra.Command {
	c := &cobra.Command{
		Use:   use + " ID",
		Short: map[bool]string{false: "Show one message, with its envelope", true: "Tell what a message waits for"}[onlyText],
		Args:  cobra.ExactArgs(1),
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := which(args, false)
		if err != nil || len(w.IDs) != 1 {
			return fmt.Errorf("%s is no ID; \"barid queue list\" shows them", args[0])
		}
		var a app.QueueAbout
		if err := asking.ask(cmd, queueTimeout, "/queue/show", app.QueueWhich{Which: w}, &a); err != nil {
			return err
		}
		return asking.print(cmd, a, func(w io.Writer) error {
			if onlyText {
				_, err := fmt.Fprintln(w, a.Text)
				return err
			}
			fmt.Fprintf(w, "%d to %s, %d octets, accepted %s UTC, %d tries, %s\n", a.ID, a.Dest, a.Size, a.Queued.UTC().Format(time.DateTime), a.Tries, a.State)
			fmt.Fprintf(w, "  from  %s\n", a.From)
			for _, to := range a.To {
				fmt.Fprintf(w, "  to    %s\n", to)
			}
			_, err := fmt.Fprintf(w, "  %s\n", a.Text)
			return err
		})
	}
	return c
}

// queueVerb is a command that does something to entries.
func queueVerb(verb, short, done string) *cobra.Command {
	c := &cobra.Command{Use: verb + " ID... | DESTINATION | --all", Short: short}
	asking := askingFlags(c)
	all := c.Flags().Bool("all", false, "all messages there are")
	var tell *bool
	if verb == "discard" {
		tell = c.Flags().Bool("tell", false, "send their senders a notification")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := which(args, *all)
		if err != nil {
			return err
		}
		var n app.QueueCount
		if err := asking.ask(cmd, queueTimeout, "/queue/"+verb, app.QueueWhich{Which: w, Tell: tell != nil && *tell}, &n); err != nil {
			return err
		}
		return asking.print(cmd, n, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%d %s\n", n.Entries, done)
			return err
		})
	}
	return c
}

func peersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "peers",
		Short: "Tell how the servers fare that mail is sent to",
		Args:  cobra.NoArgs,
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var peers []queue.Peer
		if err := asking.ask(cmd, queueTimeout, "/peers", nil, &peers); err != nil {
			return err
		}
		return asking.print(cmd, peers, func(w io.Writer) error { return printPeers(w, peers, time.Now()) })
	}
	return c
}

func printPeers(w io.Writer, peers []queue.Peer, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "destination\twaiting\tsending\twindow\tbreaker\tby\ttook\tsent\trefused\tsince\tlast error")
	for _, p := range peers {
		since := ""
		if !p.Since.IsZero() {
			since = now.Sub(p.Since).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n",
			p.Name, p.Waiting, p.InFlight, p.Window, p.Breaker, p.Channel, p.Took.Duration().Round(time.Millisecond), p.Sent, p.Refused, since, p.LastError)
	}
	return t.Flush()
}
