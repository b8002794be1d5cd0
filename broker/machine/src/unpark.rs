//! Parked events get a new plan: they are delivered, dropped, or parked again.

use millrace_model::command::{Elsewhere, Unpark, Unparked as Planned};
use millrace_model::outcome::Unparked;
use millrace_model::{Fault, Outcome, PayloadRef, Tables, row};

use crate::across::Parted;
use crate::keys;
use crate::machine::Machine;
use crate::parked::Parked;
use crate::publish::{place, take_payloads};

impl<T: Tables> Machine<T> {
    /// Follows new plans for parked events of one subscription. An event that is no longer there is left
    /// out; one that does not fit stays as it is.
    pub(crate) fn unpark(
        &mut self,
        unpark: &Unpark,
        elsewhere: &Elsewhere,
        places: &[PayloadRef],
    ) -> Result<Outcome, Fault> {
        let deliveries = unpark.events.iter().flat_map(|event| &event.deliveries);
        if let Some(refusal) = self.stale(unpark.revision, deliveries, elsewhere) {
            return Ok(Outcome::Refused(refusal));
        }
        let mut outcome = Unparked::default();
        let mut rest = places;
        for event in &unpark.events {
            let own = take_payloads(&mut rest, event.payloads)?;
            let parked = self
                .parked
                .get(&self.tables, unpark.subscription, event.sequence)?;
            if let Some(parked) = parked {
                if self.unpark_one(unpark, event, elsewhere, (&parked, own))? {
                    outcome.redriven += 1;
                } else {
                    outcome.parked += 1;
                }
            }
        }
        self.parked.advance(&self.tables, unpark.subscription)?;
        Ok(Outcome::Unparked(outcome))
    }

    /// Whether the event left the list.
    fn unpark_one(
        &mut self,
        unpark: &Unpark,
        event: &Planned,
        elsewhere: &Elsewhere,
        (parked, own): (&Parked, &[PayloadRef]),
    ) -> Result<bool, Fault> {
        let places = [&[parked.payload], own].concat();
        let stays = event
            .parked
            .iter()
            .position(|park| park.subscription == unpark.subscription);
        let mut parks = event.parked.clone();
        let stays = stays.map(|at| parks.remove(at));
        let plan = Parted::new(&event.deliveries, &parks, elsewhere);
        if self.fits(&plan).is_err() {
            return Ok(false);
        }
        self.follow(&plan, unpark.revision, &places)?;
        let delivered = event.deliveries.iter().map(|delivery| delivery.payload);
        for ordinal in delivered.chain(parks.iter().map(|park| park.payload)) {
            self.tables.retain(place(&places, ordinal)?, 1);
        }
        let key = keys::parked(unpark.subscription, event.sequence);
        if let Some(park) = &stays {
            let payload = place(&places, park.payload)?;
            self.tables.retain(payload, 1);
            let again = Parked::new(park, payload, parked.parked_at);
            self.tables.put(&key, row::encode(&again));
        } else {
            self.parked
                .remove(&mut self.tables, unpark.subscription, event.sequence);
        }
        self.tables.release(parked.payload, 1);
        Ok(stays.is_none())
    }
}
