//! Queues: their configuration, and the life of a message in them.

mod config;
mod dead_letters;
mod located;
mod peek;
mod receive;
mod send;
mod settle;

pub(crate) use config::{QueueView, delete, list, put, show};
pub(crate) use dead_letters::{MovedAnswer, PurgedAnswer, RedriveBody, purge, redrive};
pub(crate) use peek::{PEEK, PeekedMessage, peek};
pub(crate) use receive::{ReceiveAnswer, ReceiveBody, receive};
pub(crate) use send::send;
pub(crate) use settle::{
    AckAnswer, AckBody, ExtendAnswer, ExtendBody, NackAnswer, NackBody, ack, extend, nack,
};
