//! Asking for the lines of tables before the packets that need them are taken.

use super::Follower;
use crate::batch::{Ticket, TicketKind};

/// How far ahead table lines are asked for: the index, then the connection, then its story. Together they cover the
/// time that memory takes, and no more lines are under way than a core can have.
const INDEX_AHEAD: usize = 12;
const CONNECTION_AHEAD: usize = 6;
const STORY_AHEAD: usize = 3;
/// Connections that were found ahead, for their stories.
pub(super) const PLACES: usize = 8;
const _: () = assert!(CONNECTION_AHEAD < PLACES && STORY_AHEAD < CONNECTION_AHEAD);

impl Follower {
    /// Has the lines fetched that the first packets of a list need.
    pub(super) fn look_at_first(&mut self, list: &[Ticket]) {
        list.iter().take(INDEX_AHEAD).for_each(|ticket| self.look_far(ticket));
        for (position, ticket) in list.iter().enumerate().take(CONNECTION_AHEAD) {
            self.look_near(ticket, position);
        }
        for (position, ticket) in list.iter().enumerate().take(STORY_AHEAD) {
            self.look_nearer(ticket, position);
        }
    }

    /// Has the lines fetched that the next packets need.
    #[inline]
    pub(super) fn look_ahead(&mut self, list: &[Ticket], position: usize) {
        if let Some(ticket) = list.get(position + INDEX_AHEAD) {
            self.look_far(ticket);
        }
        if let Some(ticket) = list.get(position + CONNECTION_AHEAD) {
            self.look_near(ticket, position + CONNECTION_AHEAD);
        }
        if let Some(ticket) = list.get(position + STORY_AHEAD) {
            self.look_nearer(ticket, position + STORY_AHEAD);
        }
    }

    #[inline]
    fn look_far(&self, ticket: &Ticket) {
        match ticket.kind {
            TicketKind::Handshake => {
                self.half_open.prefetch(ticket.hash);
                self.half_open.prefetch_beside(ticket.hash);
                self.table.prefetch(ticket.hash);
            }
            TicketKind::Bare | TicketKind::Payload => self.table.prefetch(ticket.hash),
            TicketKind::Other => {}
        }
    }

    #[inline]
    fn look_near(&mut self, ticket: &Ticket, position: usize) {
        if matches!(ticket.kind, TicketKind::Bare | TicketKind::Payload) {
            let place = self.table.find(ticket.hash);
            match place {
                Some(place) => self.table.prefetch_connection(place),
                None => self.half_open.prefetch(ticket.hash),
            }
            self.places[position % PLACES] = place;
        }
    }

    #[inline]
    fn look_nearer(&self, ticket: &Ticket, position: usize) {
        let wants_story = matches!(ticket.kind, TicketKind::Bare | TicketKind::Payload);
        if wants_story && let Some(place) = self.places[position % PLACES] {
            let story = self.table.prefetch_story(place);
            if ticket.kind == TicketKind::Payload && story != 0 {
                self.layers.prefetch(story - 1);
            }
        }
    }
}
